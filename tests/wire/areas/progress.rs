//! The event stream of a start.

use crate::exchange::Area;

pub(crate) fn area() -> Area {
    let mut it = Area::new("progress").between("pam", "bob");
    let stream = "GET /users/pam/server/progress";
    it.matrix(stream, "read:servers");
    it.ask("boss", "GET /users/nobody-at-all/server/progress");
    it.ask("pam", "GET /users/pam/servers/nothing/progress");
    it.ask("pam", "POST /users/pam/server");
    it.ask("pam", "GET /users/pam/server").until("/ready", true);
    it.matrix(stream, "read:servers");
    it.ask("pam", "GET /users/pam/servers//progress");
    it.ask("cookie:pam", stream);
    it.ask("cookie:pam", stream).header("Sec-Fetch-Mode", "cors");
    it.ask("cookie:pam", &format!("{stream}?_xsrf={{xsrf:pam}}")).header("Sec-Fetch-Mode", "cors");
    it.ask("pam", "DELETE /users/pam/server");
    it.ask("pam", "GET /users/pam/server").until("/stopped", true);
    it.ask("pam", stream);
    // while it starts
    it.ask("slow-pat", "POST /users/slow-pat/server");
    it.ask("slow-pat", "GET /users/slow-pat/server/progress");
    it.ask("slow-pat", "GET /users/slow-pat/server");
    it.ask("slow-pat", "DELETE /users/slow-pat/server");
    it
}
