//! Events of user servers.

super::events! {
    "server starting" [info] [hub] (user server order)
    "A start was recorded and the spawner is asked." ""
    "start waits" [info] [hub] (user server waiting)
    "There is no room for one more server; this start waits in the queue for it." "Often: raise `hub.concurrent_spawn_limit` or `hub.active_server_limit`, if the machine bears it."
    "waiting start not begun" [warn] [hub] (user server error)
    "The turn of a waiting start came, but it could not begin; it is tried again, the others go on." ""
    "server process started" [info] [root] (user order pid)
    "The process of a server runs as its user." ""
    "server process not started" [warn] [root] (user server order pid error)
    "The process could not be made: no such program, a limit, a forbidden user." "`error` names the step."
    "server process ended" [info] [root] (user order pid exit)
    "The process of a server has ended; the hub's `server ended` says why." ""
    "server process known" [debug] [hub] (user server order pid port)
    "The hub has heard of the process that root made." ""
    "server container started" [debug] [hub] (user server order container)
    "The container of a server runs." ""
    "image fetch begins" [info] [hub] (image)
    "A server's image is not there, or is fetched before each start; the engine gets it." ""
    "image not fetched" [warn] [hub] (image error)
    "The engine could not get an image; the start that needs it has failed." "Look at the image's name, the registry and the network; or fetch it by hand and set `pull_policy: Never`."
    "engine not answering" [warn] [hub] (socket error)
    "The container engine cannot be reached: nothing is known of its containers, so nothing about them changes." "Does the engine run, and may the hub's account open its socket?"
    "engine socket open to all" [warn] [hub] (socket)
    "Every account of this machine may use the container engine, so read every server's token and become root." "Give the socket to the hub's group and take the rest of its mode away: docs/how-to/docker.md."
    "engine answers again" [info] [hub] (socket)
    "The container engine can be reached again; what happened meanwhile is being found out." ""
    "container not removed" [warn] [hub] (order error)
    "A container that is over is still there; it is tried again." "When it repeats: remove it by hand."
    "server of another version" [info] [hub] (user server order version)
    "A server says it comes from another JupyterHub than the one whose wire is spoken here. Most work all the same." "If it does not: bring its environment to the hub's version."
    "usage measured" [debug] [hub] (servers processes elapsed_ms)
    "What all servers take was measured, over so many processes of the machine." ""
    "server in service" [info] [hub] (user server order)
    "A server answers and is routed." ""
    "server ended" [info] [hub] (user server order kind cause)
    "A server is over; `cause` is what its user reads." "Many with the same `cause`: look at the machine's memory, at the image, at the configuration."
    "server not answering" [warn] [hub] (user server order)
    "A new server does not answer over HTTP within `spawner.http_timeout`; it is ended." "The end of its log is on the user's page."
    "stranger on its port" [warn] [hub] (user server order uid)
    "Somebody else listens where a new server should; it is started on another port." "If that repeats, look what the user `uid` does."
    "port taken" [warn] [hub] (user server order port)
    "The port of a new server is in use; another one is tried." ""
    "server adopted" [info] [root] (order pid user)
    "A starting root has found a server of before; it goes on undisturbed." ""
    "server gone meanwhile" [warn] [root] (order pid user)
    "A starting root has not found a server of before: it ended while no root was there." ""
    "servers found again" [info] [hub] (users)
    "A starting hub knows again what became of all servers." ""
    "servers still being found" [warn] [hub] (limit_s)
    "Some servers' fate is still unknown; the others are served meanwhile." "Does the spawner answer?"
    "server not found again" [warn] [hub] (user server order error)
    "The spawner cannot say what became of a server; it is asked again and the server is left alone." "Does the spawner answer?"
    "server put aside" [error] [hub] (user server order error)
    "Nobody can find out what became of a server, because doing so has failed three times; it stays as it is recorded, everything else goes on, and it is tried again later." "Report the failures before it."
    "server ended unnoticed" [warn] [hub] (user server order)
    "A comparison with the spawner shows that a recorded server is gone; it is recorded as ended now." "Once after trouble with the spawner: as expected. Often: report it."
    "spawner not answering" [warn] [hub] (user server order error)
    "The spawner does not say in time what became of a server; it is asked again and the server is left alone." "Does the spawner answer?"
    "server not watched" [warn] [hub] (user server order error)
    "The spawner cannot say when a server ends; it is asked again." "Does the spawner answer?"
    "order not found" [warn] [hub] (user server order error)
    "The spawner cannot say what a start has produced that is to be ended; it is asked again." "Does the spawner answer?"
    "order not forgotten" [warn] [hub] (order error)
    "The spawner keeps what it knew about a server that is over." ""
    "server not stopped" [warn error] [hub] (user server order error)
    "A server does not end; it is tried again, harder. `warn`: its actor did not take the wish." "Alarm on `error` when it repeats: the process may hang in a broken file system."
    "server of blocked user" [warn] [hub] (user server)
    "A server is stopped, as `auth.blocked_users` names its user." ""
    "server not drained" [warn] [hub] (user server error)
    "A server should be stopped, for maintenance or as its user is blocked, and is not; it is tried again." "See the events of that server."
    "servers drained" [info] [hub] (servers)
    "Servers were told to stop because there is maintenance." ""
    "signal denied" [warn] [hub] (order why)
    "Root does not send a signal to a server, since it is gone or not ours." ""
    "server not started again" [warn] [hub] (user server error)
    "A server that its owner restarts has stopped and was not started again." ""
    "stop at sign-out refused" [warn] [hub] (user error)
    "A server should end with its user's session but does not." ""
    "step not recorded" [warn] [hub] (user server error)
    "A server's next step could not be written down and is not done." "See the store's events."
    "record in doubt" [warn] [hub] (user server)
    "The store has not said whether a step is written; it is found out before anything is done." "See the store's events."
    "record still in doubt" [debug] [hub] (error)
    "It is not yet found out." ""
    "note not written" [warn] [hub] (user server error)
    "What became of a server could not be written down; it is tried again." "See the store's events."
    "note is stale" [debug] [hub] (user server error)
    "What became of a server was overtaken by something newer." ""
    "no answer yet" [debug] [hub] (error)
    "A new server does not answer yet." ""
    "route not removed yet" [warn] [hub] (user server error)
    "The route of a server that ended is still there; it goes as soon as the proxy answers." ""
    "no inventory of servers" [warn] [hub] (error)
    "The spawner cannot list what it runs, so servers that nobody knows cannot be found." "Does the spawner answer?"
    "orphan is stopped" [warn] [hub] (order)
    "The spawner runs a server that no record knows; it is ended." "After a restored backup: as expected."
    "orphan not found" [warn] [hub] (order error)
    "A server that no record knows cannot be looked at." "Does the spawner answer?"
    "orphan not stopped" [error] [hub] (order error)
    "A server that no record knows cannot be ended." "End it by hand."
    "server logs not tidied" [warn] [hub] (error)
    "The output files of servers could not be cut or removed." "Look at the permissions and the room of `hub.state_dir`."
}
