//! Events of people: sign-in, requests, pages.

super::events! {
    "user signed in" [info] [hub] (user from admin)
    "Name and password were right and the rules let the user in." ""
    "user has no account" [warn] [hub] (user from error)
    "Somebody new may enter, but has no account on this machine, where servers run as their users; or it could not be made. They were refused." "Make the account (`useradd`), or set `auth.create_system_users`."
    "user enters without account" [warn] [hub] (user from error)
    "A user the hub knows has signed in and has no account on this machine. The hub's pages are there; a server does not start." "Make the account, or set `auth.create_system_users`."
    "user not added" [warn] [hub] (user error)
    "An administrator asked for a new user who has no account on this machine." "Make the account (`useradd`), or set `auth.create_system_users`."
    "server opened by another" [info] [hub] (user server visitor admin)
    "Somebody entered a server that is not their own: an administrator, or who was let in by a share or a role. Its owner reads so on the home page." ""
    "deleted user may return" [warn] [hub] (user setting)
    "A user was deleted whom a list of the configuration lets in: they may sign in again." "Take the name out of that list and reload, or put it into `auth.blocked_users`."
    "session begun" [debug] [hub] (user)
    "A browser has got the cookies of a session." ""
    "user signed out" [info] [hub] (user)
    "A session was ended by its user." ""
    "password refused" [warn] [hub] (user from error)
    "A sign-in failed. A name that looks like a password is not shown." "Many from one address: somebody guesses; the throttle holds them."
    "provider refused" [warn] [hub] (way from error)
    "Somebody came back from a provider with nothing that lets them in: they said no there, took too long, or what came is not good." "Many: `error` says whether the provider has changed, or somebody tries things out."
    "provider not asked" [warn] [hub] (user way error lasts)
    "A provider was to be asked whether somebody is still who they were, and could not be. `lasts`: they stay signed in for now." "Look at the way to the provider."
    "sign-in is over" [info] [hub] (user way)
    "The provider does not vouch for this user any more: they have to sign in again." ""
    "user not allowed any more" [warn] [hub] (user from error)
    "No rule lets this user in since the provider was asked again: they have to sign in again, and cannot." ""
    "name taken" [warn] [hub] (user from error)
    "A provider vouches for somebody whose name is already somebody else's of the same provider: names are given again there." "If it is the same person after all: rename or delete the old user."
    "authenticator unusable" [error] [hub] (way error)
    "A way to sign in cannot be used as it is configured; nobody comes in by it." "Mend what `error` names."
    "names not checked" [error] [hub] (setting error)
    "`auth.username_pattern` cannot be used, so nobody can sign in: a fault of ours, root should have refused it." "Please report it; leave the setting empty meanwhile."
    "name invalid" [warn] [hub] (user from error)
    "Somebody tried a name that can be no user's." ""
    "user blocked" [warn] [hub] (user from)
    "The password was right, but `auth.blocked_users` names the user." ""
    "user not allowed" [warn] [hub] (user from)
    "The password was right, but no rule lets this user in." "Add the user to `auth.allowed_users` if wanted."
    "too many attempts" [warn] [hub] (from waiting)
    "More sign-ins wait than `auth.class.Pam.concurrency` and its queue allow; this one was turned away." "Raise the limit if the machine has room, or look who does it."
    "attempt throttled" [warn] [hub] (user from)
    "After many failures this name or address has to wait." "Many: somebody guesses."
    "attempt panicked" [error] [hub] (user error)
    "The hub has failed while somebody signed in; that visitor got a 503, nobody else noticed." "Report `error`; alarm when it repeats."
    "attempt put aside" [warn] [hub] (user error)
    "Signing in under this name has failed three times for a reason of ours and is not tried for a while; the visitor is told so." "Report the failures before it."
    "no place for attempt" [warn] [hub] (from)
    "A sign-in waited too long for its turn." "The authenticator is slow, or too many sign in at once."
    "authenticator timed out" [error] [hub] (user from limit_s)
    "A password could not be checked in time, or a provider gave no answer." "Look at PAM's modules and what they ask (LDAP, the network), or at the way to the provider."
    "authenticator busy" [warn] [hub] (user from)
    "All helpers are checking passwords already." "Look at PAM's modules and what they ask, or raise `auth.class.Pam.concurrency`."
    "authenticator failed" [error] [hub] (user from error way)
    "A password could not be checked, or a provider cannot be asked." "Mend what `error` names."
    "sign-in not recorded" [error] [hub] (user from error)
    "A sign-in went well but its user could not be written down." "See the store's events."
    "user info not recorded" [warn] [hub] (error from user)
    "Somebody whom the hub knows has signed in while the store took no changes; what the authenticator told about the person waits for the next time." "See the store's events."
    "announcement made" [info] [hub] ()
    "Somebody who may has announced something on all pages; the request's line says who." ""
    "announcement withdrawn" [info] [hub] ()
    "What was announced is not shown any more." ""
    "maintenance begun" [info] [hub] (servers)
    "No server is started from now on; `servers` says which of those that run are stopped." ""
    "maintenance ended" [info] [hub] ()
    "Servers can be started again." ""
    "request answered" [info debug] [hub] (status elapsed_ms)
    "The hub has answered a request; `debug` for what happens all the time (static files, activity)." ""
    "request failed" [warn] [hub] (status elapsed_ms)
    "The hub has answered with a status of 500 or more." "The line before it with the same `request` says why."
    "request handler died" [error] [hub] (error)
    "The hub's code has failed while it answered; the visitor got a 500." "Report it."
    "template failed" [error] [hub] (template error)
    "A page could not be made." "Mend the template, if it is yours."
    "next url refused" [warn] [hub] ()
    "A link wanted to lead somebody away from the hub after sign-in; it leads home instead." ""
    "page policy broken" [info] [hub] (report)
    "A browser has kept a page from doing what its policy forbids." "Often an extension of that browser."
    "room for connections full" [warn] [hub] (open waiting)
    "As many connections as the hub takes are open; the quietest make place." "Look who opens them."
    "hub listener unusable" [warn] [hub] (error)
    "The hub cannot accept at an address of its API." "Restart the hub; see the error."
    "hub listener closed" [info] [hub] (address)
    "The hub's API is no longer served at this address: who waited there has been let in." ""
    "hub listener not emptied" [warn] [hub] (error)
    "Who waited at an address of the API that was given up may have been cut off." ""
    "accept failed" [warn] [hub] (error)
    "The hub cannot take a connection now; it tries again." "Out of descriptors: raise the limit (`LimitNOFILE`)."
    "connection broke" [debug] [hub proxy] (peer error)
    "A connection ended in the middle of something." ""
    "web threads not made" [warn] [hub] (error)
    "Threads for connections could not be made: all of them share those of the rest." "Raise the limit of tasks (`TasksMax`)."
    "web is closing" [info] [hub] (open)
    "The hub takes no more requests and finishes those it has." ""
    "web closed hard" [warn] [hub] (open)
    "The hub ended although connections were open." ""
    "last activity not written" [error] [hub] (error)
    "At its end the hub could not write when servers and users were last used." "Those times are old then, nothing else."
    "activity not written" [warn] [hub] (error)
    "When servers and users were last used could not be written; it is tried again." "See the store's events."
}
