//! Events of the proxy and of routes.

super::events! {
    "proxy started" [info] [proxy] (build workers)
    "A proxy begins; it takes connections once it has its routes." ""
    "proxy open" [info] [proxy] ()
    "The proxy takes connections." ""
    "proxy failed" [error] [proxy] (error)
    "The proxy gives up; root starts another one." "Mend what `error` names."
    "proxy stands alone" [info] [proxy] (public api)
    "`jovis proxy` takes connections; its routes are managed at `api`." ""
    "proxy cannot stand alone" [error] [proxy] (error)
    "`jovis proxy` ends with 1." "Mend what `error` names: a flag, a file, an address."
    "rest api without token" [warn] [proxy] ()
    "`jovis proxy` was given no CONFIGPROXY_AUTH_TOKEN: whoever reaches its REST API has the users' traffic." "Set it, unless only the hub reaches that address."
    "flag without effect" [warn] [proxy] (flag)
    "This flag of configurable-http-proxy changes nothing here." "Leave it out."
    "route added" [info] [proxy] (route)
    "Somebody has set this route over REST." ""
    "route taken over" [warn] [proxy] (route)
    "Somebody had set this route over REST, and now the hub has one there: that counts." "Take another beginning for yours."
    "rest api open" [info] [proxy] (address)
    "Operators manage routes of their own there." ""
    "rest api not open" [warn] [proxy] (error)
    "The REST API cannot be served at the socket that root has opened." "Report it; another port or a restart may help."
    "route removed" [info] [proxy] (route)
    "Somebody has removed this route over REST." ""
    "routes request answered" [debug] [proxy] (method path status)
    "Somebody has asked the REST API for something." ""
    "certificate read again" [info] [proxy] (flag)
    "By SIGHUP; new connections get it." ""
    "certificate kept" [error] [proxy] (error)
    "By SIGHUP, but what is in the file now cannot be used: the old one stays." "Mend the file, send SIGHUP again."
    "error page not fetched" [warn] [proxy] (error)
    "The `--error-target` had no page; visitors got a few words instead. Said once a minute." "Is it the hub, and does it run?"
    "error page not readable" [debug] [proxy] (error)
    "In the `--error-path` there is no page for this; visitors got a few words instead." ""
    "handshake of door failed" [debug] [proxy] ()
    "Somebody did not agree on TLS with the REST API." ""
    "connection of door broke" [debug] [proxy] (error)
    "A request to the REST API, the metrics or the redirecting port broke off." ""
    "acme account made" [info] [proxy] (url)
    "An account with the authority, by which certificates are got from now on." ""
    "acme certificate missing" [warn] [proxy] (names)
    "There is no certificate yet: until there is, visitors are shown one that nobody vouches for, and browsers warn." "Wait a minute; then look for `acme attempt failed`."
    "acme certificate not made" [warn] [proxy] (error)
    "Not even that one could be made." "Mend what `error` names: mostly a name that no certificate can bear."
    "acme renewal due" [info] [proxy] (names)
    "A certificate ends in a while, or lacks a name: another one is asked for." ""
    "acme certificate obtained" [info] [proxy] (names until took_ms)
    "It is shown from now on." ""
    "acme attempt failed" [warn] [proxy] (error count next_s)
    "There is no new certificate; it is tried again in `next_s` seconds. Traffic goes on with the one there is." "Mend what `error` names: mostly the way from the authority to port 80 or 443 of each name. `jovis reload` then brings the next try closer."
    "acme challenge shown" [debug] [proxy] (peer)
    "An authority has looked whose the name is." ""
    "acme file unusable" [warn] [proxy] (what error)
    "A file in `acme` of the state directory cannot be read or written: another one is made, or it is asked for anew at the next start." "Mend what `error` names: disk full? somebody else's file?"
    "acme task ended" [error] [proxy] (error)
    "A defect in what gets certificates; it begins anew in a minute." "Report it."
    "acme folder unusable" [error] [root] (error)
    "The folder `acme` of the state directory cannot be made, or belongs to somebody else: no certificate is got." "Mend what `error` names; then `jovis reload`."
    "certificate not shown" [error] [proxy] (error)
    "What was got cannot be used together with the other certificates; the old one stays." "Report it."
    "proxy not let go" [warn] [hub] (error)
    "A proxy is gone, and the hub goes on trying to reach it." "Report it if it repeats."
    "proxy speaks another version" [error] [hub] (version build)
    "A proxy and the hub do not understand each other: that proxy keeps the routes it has, and hears of no others." "During an upgrade: wait for `upgrade done`. Else restart jovis."
    "proxy draining" [info] [proxy] (connections limit_s)
    "The proxy takes no more connections and finishes those it has." ""
    "proxy drained" [info] [proxy] (remaining)
    "It has; `remaining` were cut off because `proxy.drain` was over." ""
    "proxy ended" [info] [proxy] ()
    "The proxy's last line." ""
    "hub linked" [info] [proxy] (build)
    "A hub speaks to the proxy." ""
    "hub left" [info] [proxy] ()
    "The hub has closed its link; routes stay as they are until the next one." ""
    "hub link ended" [warn] [proxy] (error)
    "The link to the hub broke; routes stay as they are until the next one." "Look why the hub ended."
    "routes complete" [info] [proxy] (routes)
    "The hub has told all routes: what is not among them does not exist." ""
    "activity not told" [warn] [proxy] (error)
    "The hub does not hear now when servers were last used; it will with the next message." ""
    "peer without descriptor" [warn] [proxy] ()
    "Root announced a hub but sent no link to it." "Report it."
    "descriptor not used" [warn] [proxy] (what)
    "Root sent what the proxy has no use for." "Are root and proxy the same version?"
    "proxy listens" [info] [proxy] (workers listeners)
    "So many workers serve so many public sockets from now on." ""
    "listeners not arranged" [error] [proxy] (error)
    "The proxy could not go over to other public sockets." "Restart the proxy; see the error."
    "listener not emptied" [warn] [proxy] (error)
    "Who waited at a public address that was given up may have been cut off." ""
    "certificate expires soon" [warn] [proxy] (name days)
    "A public certificate is good for so many days more. Told once a day from two weeks before its end." "Renew it, then reload."
    "certificate expired" [error] [proxy] (name days)
    "A public certificate ended so many days ago; it is shown all the same." "Renew it, then reload."
    "listener unusable" [warn] [proxy] (error)
    "One of the threads cannot take connections from a listening socket." "Report it; the other threads do."
    "cannot accept" [warn] [proxy] (error)
    "The proxy cannot take a connection now; it waits in the kernel's queue and is tried again." "Out of descriptors: raise the limit (`LimitNOFILE`)."
    "too many connections" [warn] [proxy] (peer)
    "One address has more connections than it may; said once a minute." "Look what it does. A proxy before this one belongs to `proxy.trusted_proxies`."
    "forwarded headers not believed" [warn] [proxy] (peer)
    "Somebody who is not named as a trusted proxy says for whom it speaks; said once a day." "If that is your load balancer: name it in `proxy.trusted_proxies`."
    "proxy header refused" [debug] [proxy] (peer)
    "`proxy.proxy_protocol` is set, and a connection did not begin with a header of that protocol, or came from somebody who is no trusted proxy." "If that is your load balancer: name it in `proxy.trusted_proxies`, and let it send the header."
    "handshake failed" [debug] [proxy] (peer)
    "TLS was not agreed on." ""
    "visitor too slow" [debug] [proxy] (peer)
    "A visitor has not sent a request in time." ""
    "connection flooded" [debug] [proxy] (why)
    "A visitor sent more HTTP/2 frames of a kind than anybody needs; the connection was closed." ""
    "visitor broke off" [debug] [proxy] (route error)
    "A visitor did not send the body of a request to its end." ""
    "server not running" [info] [proxy] (user count)
    "Programs (often a page left open in a browser) asked for a user's server that does not run; `count` of them since the last such line. At most one line a minute and user." ""
    "request refused" [debug] [proxy] (peer why)
    "A request was answered by the proxy itself, with an error." ""
    "too many at once" [debug] [proxy] (from)
    "An address has as many connections and requests by HTTP/2 under way as it may; this one was refused." ""
    "too many at the hub" [debug] [proxy] (from)
    "One visitor has more requests at the hub than it may; it got a 503." ""
    "visitor answered" [info] [proxy] (from method path status elapsed_ms request)
    "A request was answered; said of as many as `proxy.access_log_every` wants, never with what stands behind a `?`." ""
    "request served" [debug] [proxy] (request route status elapsed_ms)
    "A request went through the proxy." ""
    "tunnel broke" [debug] [proxy] (route error)
    "A WebSocket ended without goodbye." ""
    "backend failed" [warn] [proxy] (route error)
    "A server did not take or not finish a request; said once a minute for a route." "One server: its user's matter. Many: look at the machine."
    "figures not readable" [warn] [hub] (error)
    "What the proxy has counted is missing in `/hub/metrics` until it tells it again." ""
    "proxy connected" [info] [hub] (sink)
    "The hub keeps the routes of this proxy from now on." ""
    "proxy disconnected" [info] [hub] (sink)
    "The hub does so no more." ""
    "proxy not reconciled" [warn] [hub] (sink error)
    "The routes of a proxy could not be compared or set; it is tried again." "Alarm when it repeats: new servers are not reached."
    "routes differ" [debug] [hub] (sink set remove)
    "The routes of a proxy are not what they should be and are being set right." ""
    "proxy in step" [info] [hub] (sink routes)
    "The routes of a proxy are as they should be." ""
}
