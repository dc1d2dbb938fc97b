use axum::body::to_bytes;
use http::Request;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use proptest::{prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::web::testing::Hub;

/// Tells which row a path leads to, and with which names.
fn echo() -> (TowerToHyperService<Router>, Hub) {
    let hub = Hub::new();
    let inside = table::mount(table::rows(), |row| {
        let path = row.paths[0];
        any(move |names: Names| async move {
            if names.0.iter().any(|(_, name)| name.is_empty()) {
                return "none".to_owned();
            }
            let names: Vec<_> =
                names.0.iter().map(|(place, name)| format!("{place}={name}")).collect();
            format!("{path} {}", names.join(" ")).trim_end().to_owned()
        })
    });
    let all = Router::new()
        .nest("/hub/", inside.fallback(|| async { "none" }))
        .fallback(|| async { "outside" });
    (TowerToHyperService::new(all.with_state(hub.app.clone())), hub)
}

async fn ask(routes: &TowerToHyperService<Router>, path: &str) -> Result<String, u16> {
    let mut request = Request::new(Body::empty());
    *request.uri_mut() = path.parse().unwrap();
    let tidied = tidy(request.uri(), "/hub/").map_err(|error| error.status.as_u16())?;
    if let Some(uri) = tidied {
        *request.uri_mut() = uri;
    }
    let out = routes.call(request).await.unwrap();
    Ok(String::from_utf8(to_bytes(out.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap())
}

#[tokio::test]
async fn paths_lead_to_their_rows() {
    let (routes, _hub) = echo();
    for (path, wanted) in [
        ("/hub/", "/"),
        ("/hub/login", "/login"),
        ("/hub/log%69n", "/login"),
        ("/hub/login/", "none"),
        ("/hub//login", "none"),
        ("/hub/spawn", "/spawn"),
        ("/hub/spawn/", "/spawn/{user?}"),
        ("/hub/spawn/bob", "/spawn/{user?} user=bob"),
        ("/hub/spawn/bob/", "/spawn/{user?} user=bob"),
        ("/hub/spawn/bob/lab", "/spawn/{user?} user=bob server=lab"),
        ("/hub/spawn//lab", "/spawn/{user?} server=lab"),
        ("/hub/spawn/bob/lab/x", "none"),
        ("/hub/spawn-pending/a%2Fb", "/spawn-pending/{user?} user=a/b"),
        ("/hub/user", "none"),
        ("/hub/user/", "none"),
        ("/hub/user//x", "none"),
        ("/hub/user/bob", "/user/{user} user=bob"),
        ("/hub/user/bob/", "/user/{user} user=bob"),
        ("/hub/user/bob//", "/user/{user} user=bob"),
        ("/hub/user/bob//x", "/user/{user} user=bob rest=x"),
        ("/hub/user/bob/lab", "/user/{user} user=bob first=lab"),
        ("/hub/user/bob/lab/", "/user/{user} user=bob first=lab"),
        ("/hub/user/bob/a%2Fb/c/d", "/user/{user} user=bob first=a/b rest=c/d"),
        ("/hub/user-redirect", "none"),
        ("/hub/user-redirect/", "/user-redirect/{*rest?}"),
        ("/hub/user-redirect/lab/tree", "/user-redirect/{*rest?} rest=lab/tree"),
        ("/hub/static/style.css", "/static/{file?} file=style.css"),
        ("/hub/static/a/b", "/static/{file?} version=a file=b"),
        ("/hub/static/a/b/c", "none"),
        ("/hub/health", "/health"),
        ("/hub/api/health", "/health"),
        ("/hub/metrics", "/metrics"),
        ("/hub/api/metrics", "/metrics"),
        ("/hub/admin", "/admin"),
        ("/hub/api", "/api"),
        ("/hub/api/", "/api"),
        ("/hub/api/user", "/api/user"),
        ("/hub/api/users/bob", "/api/users/{user} user=bob"),
        ("/hub/api/users/bob/", "none"),
        ("/hub/api/users/", "none"),
        ("/hub/api/users//server", "none"),
        ("/hub/api/users", "/api/users"),
        ("/hub/api/users/bob/tokens", "/api/users/{user}/tokens user=bob"),
        ("/hub/api/users/bob/tokens/", "/api/users/{user}/tokens/{id?} user=bob"),
        ("/hub/api/users/bob/tokens/a1", "/api/users/{user}/tokens/{id?} user=bob id=a1"),
        ("/hub/api/users/bob/server", "/api/users/{user}/server user=bob"),
        ("/hub/api/users/bob/server/", "none"),
        ("/hub/api/users/bob/servers", "none"),
        ("/hub/api/users/bob/servers/", "/api/users/{user}/server user=bob"),
        ("/hub/api/users/bob/servers/lab", "/api/users/{user}/server user=bob server=lab"),
        ("/hub/api/users/bob/servers/lab/", "none"),
        ("/hub/api/users/bob/server/progress", "/api/users/{user}/server/progress user=bob"),
        ("/hub/api/users/bob/servers//progress", "/api/users/{user}/server/progress user=bob"),
        (
            "/hub/api/users/bob/servers/progress/progress",
            "/api/users/{user}/server/progress user=bob server=progress",
        ),
        ("/hub/api/users/a%2Fb", "/api/users/{user} user=a/b"),
        ("/hub/api/users/%252e", "/api/users/{user} user=%2e"),
        ("/hub/api/users/a%zz", "/api/users/{user} user=a%zz"),
        ("/hub/api/users/%7Bx%7D", "/api/users/{user} user={x}"),
        ("/hub/api/users/b%C3%BCb", "/api/users/{user} user=büb"),
        ("/hub/api/groups", "/api/groups"),
        ("/hubs", "outside"),
        ("/", "outside"),
        ("/user/bob", "outside"),
    ] {
        assert_eq!(ask(&routes, path).await.as_deref(), Ok(wanted), "{path}");
    }
}

#[tokio::test]
async fn the_order_of_rows_makes_no_difference() {
    // axum keeps the rows of a nested router in no particular order, and a new one each time.
    for _ in 0..50 {
        let (routes, _hub) = echo();
        for (path, wanted) in [
            ("/hub/spawn//lab", "/spawn/{user?} server=lab"),
            ("/hub/user/bob//x", "/user/{user} user=bob rest=x"),
            ("/hub/api/users/bob/servers//progress", "/api/users/{user}/server/progress user=bob"),
        ] {
            assert_eq!(ask(&routes, path).await.as_deref(), Ok(wanted), "{path}");
        }
    }
}

#[test]
fn dots_and_bad_text_are_refused() {
    let tidied = |path: &str| tidy(&path.parse().unwrap(), "/hub/");
    for path in ["/hub/a/../b", "/hub/a/%2e%2E", "/hub/./a", "/hub/a/%ff", "/hub/.?x=/"] {
        assert_eq!(tidied(path).unwrap_err().status.as_u16(), 400, "{path}");
    }
    for path in ["/hub/a/..b/%252e", "/hub/", "/hub/a?b=/../", "/a/../b", "/hub"] {
        assert_eq!(tidied(path), Ok(None), "{path}");
    }
    for (path, wanted) in [
        ("/hub/log%69n?next=%2f", "/hub/login?next=%2f"),
        ("/hub/a%2fb/%zz", "/hub/a%2Fb/%25zz"),
        ("http://hub:8000/hub/a+b", "http://hub:8000/hub/a%2Bb"),
    ] {
        assert_eq!(tidied(path).unwrap().map(|uri| uri.to_string()).as_deref(), Some(wanted));
    }
}

proptest! {
    #[test]
    fn a_tidied_path_stays_what_it_is(path in "(users|user|spawn|api|[a-z./%2e]{0,6})(/[a-zA-Z0-9%./~@]{0,8}){0,6}") {
        let uri: Uri = format!("/hub/{path}").parse().unwrap();
        match tidy(&uri, "/hub/") {
            Err(error) => prop_assert_eq!(error.status.as_u16(), 400),
            Ok(tidied) => {
                let tidied = tidied.unwrap_or(uri.clone());
                prop_assert_eq!(tidied.path().split('/').count(), uri.path().split('/').count());
                for (a, b) in uri.path().split('/').zip(tidied.path().split('/')) {
                    prop_assert_eq!(quote::unquote(a), quote::unquote(b));
                    prop_assert!(!matches!(b, "." | ".."));
                }
                prop_assert_eq!(tidy(&tidied, "/hub/"), Ok(None));
            }
        }
    }
}
