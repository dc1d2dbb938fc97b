//! Lists in pieces.

use serde_json::json;

use crate::exchange::Area;

const PAGED: &str = "application/jupyterhub-pagination+json";

pub(crate) fn area() -> Area {
    let mut it = Area::new("pagination");
    let names: Vec<String> = (1..=7).map(|n| format!("paged-{n}")).collect();
    it.ask("boss", "POST /users").json(json!({ "usernames": names }));
    let list = "GET /users?name_filter=paged-&sort=name";
    it.ask("boss", list);
    for query in [
        "&limit=3",
        "&limit=3&offset=2",
        "&offset=6",
        "&offset=7",
        "&offset=100",
        "&limit=0",
        "&limit=-2",
        "&offset=-2&limit=1",
        "&limit=1000",
        "&limit=99999999999999999999",
        "&offset=99999999999999999999",
        "&limit=two",
        "&limit=",
        "&offset=",
        "&limit=1.5",
        "&limit=%2B2",
        "&limit=%202%20",
        "&limit=1_0",
        "&limit=2&limit=4",
        "&limit=3&a=b&c=%20d",
    ] {
        it.ask("boss", &format!("{list}{query}"));
        it.ask("boss", &format!("{list}{query}")).header("Accept", PAGED);
    }
    for accept in [
        "application/json, application/jupyterhub-pagination+json",
        "application/json,application/jupyterhub-pagination+json",
        "Application/JupyterHub-Pagination+JSON",
        "application/jupyterhub-pagination+json;q=0.9",
        "application/jupyterhub-pagination+json; charset=utf-8",
        "application/jupyterhub-pagination",
        "*/*",
    ] {
        it.ask("boss", &format!("{list}&limit=2")).header("Accept", accept);
    }
    it.ask("boss", &format!("{list}&limit=2"))
        .header("Accept", PAGED)
        .header("Host", "hub.example:1234");
    it.ask("boss[list:users!user=paged-3]", &format!("{list}&limit=1")).header("Accept", PAGED);
    it.ask("boss", "GET /groups?limit=1").header("Accept", PAGED);
    it.ask("boss", "GET /groups?limit=1");
    it.ask("boss", "GET /services?limit=1").header("Accept", PAGED);
    it.ask("boss", "GET /users/ann/tokens?limit=1").header("Accept", PAGED);
    it.ask("boss", "GET /shares/ann?limit=1").header("Accept", PAGED);
    it.ask("boss", "GET /users/ann/shared");
    it
}
