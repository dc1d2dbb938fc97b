//! Events of processes and of the hub's actors.

super::events! {
    "jovis is ready" [info] [root] (url)
    "Hub and proxy serve." ""
    "jovis is ending" [info] [root] (servers)
    "Root was told to stop; `servers` says whether user servers are ended too." ""
    "ending at once" [warn] [root] ()
    "Root was told to stop a second time: nobody is waited for any more." ""
    "servers do not end" [warn] [root] (living)
    "jovis ends although some user servers are still there after SIGKILL." "Look for processes in uninterruptible sleep: a broken file system is the usual reason."
    "upgrade begun" [info] [root] (program now)
    "Another program is tried: whether it can take over, and read the store." ""
    "upgrade refused" [error] [root] (program why)
    "That program will not do, or an upgrade is under way; nothing has changed." "Mend what `why` names and ask again."
    "root replaced" [info] [root] (was now)
    "The new program is root; hub and proxy follow." ""
    "upgrade done" [info] [root] (was now took_ms)
    "Root, hub and proxy are the new program." ""
    "upgrade rolls back" [error] [root] (was why)
    "The new hub or proxy did not serve: the program before takes over again." "See `upgrade rolled back`, which follows."
    "upgrade rolled back" [error] [root] (now why)
    "The program before is root again, with a hub of its own." "Report `why` with the lines of the new hub or proxy before it."
    "upgrade stays as it is" [error] [root] (error)
    "The program before could not take over again; root goes on as the new one, and keeps trying to start its roles." "Install a program that works and ask for an upgrade to it."
    "takeover failed" [error] [root] (why)
    "The new program could not be root and gives way to the one before." "See `upgrade rolled back`."
    "proxy replaced" [info] [root] (pid before)
    "Another proxy lets visitors in; the one before keeps those it has until they leave (`proxy.upgrade_drain`)." ""
    "proxy not replaced" [error] [root] (pid why)
    "The proxy that was to take over does not serve; the one before goes on." "The lines of that proxy before it say why."
    "too many proxies retire" [warn] [root] (count)
    "After so many upgrades the oldest proxy is told to hurry: its connections have `proxy.drain` seconds left." "Lower `proxy.upgrade_drain` where there are upgrades that often."
    "jovis ended" [info] [root] ()
    "The last line of a run." ""
    "jovis cannot start" [error] [root] (error)
    "Root gives up before it serves." "Mend what `error` names; `jovis check` finds most of it."
    "not started by root" [warn] [root] (uid only)
    "jovis runs as an ordinary user: all servers run as that user, and nothing parts root, hub and proxy." "Fine for trying it out and in containers; start it as root for more than one person."
    "poll failed" [error] [root] (error)
    "The kernel refuses to let root wait." "Report it; it is tried again ten times a second."
    "account made" [info] [root] (user uid)
    "An account was made for somebody the hub let in (`auth.create_system_users`)." ""
    "home folder not right" [warn] [root] (user error)
    "The account that was just made has no home folder of its own; its server starts elsewhere." "Give the folder to the account (`chown`), or take away what an older account of that name has left."
    "account not looked after" [warn] [root] (user error)
    "An account could not be looked up in time, or `auth.add_user_cmd` failed; what it said is in `error`." "Run the command by hand and see what it says."
    "request denied" [warn] [root] (order why)
    "The hub asked root for something that the rules forbid, or that is no longer there." "Once in a while: a race of a stop with an end. Often: look who has got into the hub."
    "operator refused" [warn] [root] (uid)
    "Somebody who is neither root nor the one that started jovis has spoken to the control socket." "Find out who; then why that socket could be opened: its mode is 0600."
    "operators not heard" [warn] [root] (error)
    "Root cannot take on who connects to its control socket; it tries again in a second." "Mend what `error` names: descriptors, memory."
    "operator not answered" [debug] [hub] (error)
    "Who asked by `jovis COMMAND` has hung up or does not read." ""
    "listener refused" [warn] [hub proxy] (error)
    "Somebody's `jovis events` does not hear this process." "Mend what `error` names: at most eight may follow."
    "reload asked for" [info] [root] ()
    "Somebody has said `jovis reload`." ""
    "status told" [info] [root] (state servers)
    "Somebody has sent SIGUSR1: how far jovis is (`serving`, or a step of its end), and how many servers run. A line for each process of its own follows." ""
    "process described" [info] [root] (child state pid build up_s restarts exit)
    "One of jovis's own processes, root among them, after `status told`; `jovis status` tells the same and more." ""
    "restart asked for" [info] [root] (child)
    "Somebody has said `jovis restart`: hub or proxy is told to go, and another one is begun." ""
    "stop asked for" [info] [root] (servers hard)
    "Somebody has said `jovis stop`, or the hub was asked by its API; `servers` is what is to become of user servers." ""
    "shutdown asked for" [info] [hub] (servers)
    "Somebody who may (`user`) has asked the hub's API to end all of jovis; `servers` is what is to become of user servers." ""
    "role started" [info] [root] (child pid)
    "Hub or proxy was begun." ""
    "role ready" [info] [root] (child pid)
    "Hub or proxy serves." ""
    "role not started" [error] [root] (child error)
    "Hub or proxy cannot be begun; it is tried again with growing pauses." "Mend what `error` names: processes, memory, descriptors."
    "role not born" [error] [root] (child pid error)
    "Hub or proxy was forked but did not become the program." "Mend what `error` names."
    "role ended" [warn info] [root] (child pid exit)
    "Hub or proxy has ended; `info` where it was told to. Root starts another one at once, later if that repeats." "Alarm on `warn` when it repeats; the lines before it of that role say why."
    "role does not answer" [warn] [root] (child pid silence patience)
    "Hub or proxy has given no sign of life for some seconds; once per silence." "Look at the machine's load and memory; after `patience` root starts another one."
    "jovis was paused" [warn] [root] ()
    "Root itself did not run for some seconds (stopped, or the machine slept); nobody's silence in that time counts." ""
    "role killed" [warn] [root] (child pid why)
    "Root has ended hub or proxy: it gave no sign of life for `root.watchdog`, or its link is over and it does not go." "Look at the machine's load and memory at that time."
    "link broken" [warn] [root] (child pid why)
    "Hub or proxy said something that root does not understand; it is ended and started anew." "After an upgrade: are both the same version? Otherwise report it."
    "children file unreadable" [error] [root] (error file)
    "The file by which root knows its servers again is damaged; it was put aside and root starts without it." "User servers of before may still run unknown: look with `ps`."
    "children file not written" [warn] [root] (error)
    "Root's table of children is not on file; were root killed now, it would not find its servers again." "Make room in root's runtime directory (`/run`)."
    "wall clock was put back" [warn] [hub] (behind)
    "The machine's clock is more than a minute behind what has passed since the hub began; the hub goes on by what has passed." "Mend the clock. If it was wrong when the hub began, restart the hub."
    "wall clock is right again" [info] [hub] ()
    "It has caught up." ""
    "hub boots" [info] [hub] (build)
    "A hub begins." ""
    "store opened" [info] [hub] (records)
    "The hub has its records." ""
    "hub is ready" [info] [hub] ()
    "The hub answers." ""
    "hub cannot start" [error] [hub] (error)
    "The hub gives up before it serves; root tries again with growing pauses." "Mend what `error` names. About the store: see [Backups](how-to/backup.md)."
    "hub ends" [info] [hub] (servers)
    "The hub is going; `servers` says whether it ends user servers too." ""
    "root left" [info] [hub proxy] ()
    "Root is gone, so hub and proxy go too; user servers live on." "If nobody stopped jovis: find out who ended root (the kernel's log, `journalctl -k`)."
    "actors gave up" [error] [hub] (error)
    "An actor failed too often, so the hub ends and root starts a new one." "Look at `actor restarting` and `actor given up` before it."
    "actors not stopped" [warn] [hub] (error)
    "At its end the hub could not stop all actors in order." "Nothing that was acknowledged is lost; report it if it repeats."
    "requests cut off" [warn] [hub] ()
    "The hub ended while requests were still being answered." ""
    "proxy not taken on" [error] [hub] (error)
    "The hub cannot talk to the new proxy." "The next proxy is tried; alarm when it repeats."
    "proxy link failed" [warn] [hub] (error)
    "The hub cannot make use of the link to the proxy that root gave it." "The next proxy is tried; alarm when it repeats."
    "proxy linked" [info] [hub] (version build)
    "The proxy said hello to the hub." ""
    "proxy link ended" [info] [hub] (error)
    "The proxy has closed its link to the hub." ""
    "proxy spoke out of turn" [warn] [hub] (said)
    "The proxy said what the hub had not asked for; it is ignored." "After an upgrade: are both the same version?"
    "root spoke out of turn" [warn] [hub] (said)
    "Root said what the hub had not asked for; it is ignored." "After an upgrade: are both the same version?"
    "late answer from proxy" [debug] [hub] (id)
    "The proxy has answered after patience had ended." ""
    "late answer from root" [debug] [hub] (id)
    "Root has answered after patience had ended." ""
    "link to root failed" [error] [hub] (error)
    "The hub cannot talk to root any more, and ends." "Root starts another one."
    "table of children not understood" [error] [hub] (error)
    "Root's list of servers cannot be read, so the hub cannot compare." "Are root and hub the same version?"
    "table of children not read" [warn] [hub] (error)
    "Root's list of servers did not arrive; it is asked for again." ""
    "cannot answer root" [warn] [hub] (error)
    "An answer to root was not sent." "Root counts a silent hub as dead: see `role killed`."
    "actor is up" [debug] [hub] (supervisor actor generation)
    "An actor works." ""
    "actor ended" [info] [hub] (supervisor actor error)
    "An actor has done its work." ""
    "actor restarting" [warn] [hub] (supervisor actor error)
    "An actor has failed and is started anew from the records at once." "Report `error`; alarm when it repeats."
    "actor restarting later" [warn] [hub] (supervisor actor error delay_ms)
    "An actor has failed again and is started anew after a pause." "Report `error`; alarm when it repeats."
    "actor given up" [error] [hub] (supervisor actor error)
    "An actor failed too often: its supervisor gives up, in the end the hub ends and root starts a new one." "Report `error`."
    "actor did not stop" [error] [hub] (supervisor actor limit_ms)
    "An actor has not ended in time and was cut off." "Report it."
    "actor stopped" [debug] [hub] (supervisor actor)
    "An actor has ended as it was told." ""
    "limits never escalate" [warn] [hub] (supervisor actor)
    "The limits of an actor's restarts can never be reached." "Report it: this is a mistake of ours."
    "code panicked" [warn] [root hub proxy] (place thread error)
    "Our code has failed at this place; what follows from it (`actor restarting`, `request handler died`) comes after it." "Report it: this is a mistake of ours."
    "input quarantined" [error] [hub] (actor input)
    "An actor has failed three times on the same thing; it is passed over from now on, everything else goes on." "Report it with `input` and the failures before it; a restart of the hub tries again."
    "input skipped" [warn error] [hub] (user server input error)
    "What an actor has failed on three times came again and is passed over; a start ends with that, an end is tried again later." "Report what `input quarantined` named."
    "spawner actor panicked" [error] [hub] (user panics error)
    "The actor of one user's servers has failed; it is started anew, nobody else notices." "Report `error`; alarm when it repeats."
    "wall clock moved" [warn] [hub] ()
    "The time of day has jumped; what expires is looked at one round later." "Mend the machine's clock (NTP)."
    "nothing has expired" [debug] [hub] ()
    "The janitor looked and found nothing." ""
    "expired records deleted" [info] [hub] (records)
    "Expired tokens, codes and sessions were removed." ""
    "expired records kept" [warn] [hub] (error)
    "What has expired could not be removed; it is refused all the same." "See the store's events."
}
