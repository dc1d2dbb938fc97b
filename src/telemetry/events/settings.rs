//! Events of settings and of logs.

super::events! {
    "descriptors not used" [warn] [root] (count)
    "systemd handed over descriptors that are no listening sockets." "Look at the units: only `ListenStream=` with an address serves."
    "socket not used" [warn] [root] (address)
    "systemd handed over a socket for an address that is not that of `hub.ip` and `hub.port`; it is closed." "Make the unit and the settings say the same."
    "setting rejected" [error] [root] (finding)
    "A reload found this mistake in the configuration." "Mend it, then reload again; all is as before until then."
    "logo not used" [warn] [hub] (error)
    "The hub cannot read `hub.logo_file`, so pages show the built-in logo." "Let the hub's account read it (`root.hub_user`), then reload."
    "reload refused" [error] [root] (findings)
    "The new configuration has mistakes, so nothing of it is in effect." "Mend the `setting rejected` before it."
    "configuration reloaded" [info] [root] (applied next_start rebound)
    "The new configuration is in effect." ""
    "setting needs restart" [warn] [root] (setting)
    "This setting was changed and stays as it was until jovis is restarted." "Restart jovis when it suits."
    "setting kept" [warn] [root] (child finding)
    "Hub or proxy could not take on this setting: what it names stays as it was." "Mend it, then reload again."
    "reload unanswered" [warn] [root] (child)
    "Hub or proxy has not said in time what became of a reload." "See `role killed` and `role ended`; a new one begins with the new settings."
    "hub address kept" [info] [root] (address)
    "The hub's API has another address now; this one stays open as long as a server lives that was given it." ""
    "hub address closed" [info] [root] (address)
    "No server lives any more that was given this old address of the hub's API." ""
    "hub address lost" [error] [root] (address error)
    "Servers of an earlier run call the hub's API at this address, which cannot be had again." "Free the address and restart jovis, or restart those servers."
    "listeners not passed on" [warn] [root] (error)
    "Hub and proxy go on with the listeners they have." "See the error: mostly too many open files."
    "new settings taken on" [info] [hub] (kept)
    "The hub has taken its new settings, but for `kept` of them." ""
    "new settings not understood" [error] [hub] (error)
    "The hub cannot read its new settings and goes on with the old ones." "Are root and hub the same version?"
    "cannot report the reload" [warn] [hub] (error)
    "Root does not hear what became of a reload in the hub." ""
    "configured records made" [info] [hub] (users groups services flags)
    "Users, groups and services that the configuration names were made or changed, and so many administrators' flags." ""
    "configured records not kept" [error] [hub] (error)
    "What the configuration names could not be recorded; roles are in effect all the same." "Mend what `error` names, then reload."
    "roles not taken on" [error] [hub] (error)
    "The hub does not understand the roles; those of before stay." "Report it: the check of the configuration should have said so."
    "service dropped" [info] [hub] (service)
    "A service has left the configuration: its tokens and its OAuth client are gone with it." ""
    "service taken by the configuration" [warn] [hub] (service)
    "A service that was made by request has the name of one in the configuration, which takes its place; its tokens are gone." "Tell who made it; give one of the two another name."
    "service token in use" [error] [hub] (service)
    "The `api_token` of this service is somebody else's token, so the service has none." "Give it another."
    "service starting" [debug] [hub] (service order)
    "A managed service is about to be started." ""
    "service started" [info] [hub] (service order pid)
    "A managed service runs." ""
    "service not started" [warn] [hub] (service order error)
    "A managed service could not be started; it is tried again with growing pauses." "Mend what `error` names: its program, its account, its folder."
    "service ended" [warn info] [hub] (service order exit)
    "A managed service has ended; `info` where it was told to. Otherwise it is started again, with growing pauses." "The end of `logs/ORDER` in the state directory says why."
    "service found again" [info] [hub] (service order pid)
    "A starting hub has found a managed service that runs; it goes on undisturbed." ""
    "service not stopped" [warn] [hub] (order error)
    "Root could not pass a signal on to a managed service; it is tried again." ""
    "services stay" [warn] [hub] (count)
    "jovis ends although so many managed services have not left." "The next start finds them again."
    "service keeper died" [error] [hub] (error)
    "What keeps managed services running has failed and begins anew; what runs goes on." "Report it."
    "service not answering" [warn] [hub] (service url error)
    "A service does not take connections at its address." "Look at the service; `hub.service_check_interval` sets how often this is looked at."
    "service answers again" [info] [hub] (service url)
    "It does." ""
    "proxy reloaded" [info] [proxy] ()
    "The proxy has taken its new settings." ""
    "name ignored" [warn] [hub] (setting error)
    "A user's name in the configuration is no valid name." "Mend it, then reload."
    "everybody may sign in" [info] [hub] ()
    "No rule says who may sign in, so everybody with a password may." "Set `auth.allowed_users` or another rule if that is not wanted."
    "trusted proxy not understood" [warn] [proxy] (entry)
    "An entry of the proxies that are believed is no address; it is ignored." "Mend it, then reload."
    "log lines dropped" [warn] [root hub proxy] (count)
    "So many lines are missing here: whoever reads the log was too slow, or its disk is full." "Make room, or a faster reader; lower `log.level`."
}
