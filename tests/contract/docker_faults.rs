//! The Docker spawner against engines that misbehave.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use jovis::{
    config::sections::{self, PullPolicy, SpawnerClass},
    spawn::{docker::Docker, listeners::Expected, output::Outputs},
};
use jovis_actors::{
    ports::{Progress, Recovered, SpawnError, Spawner, Stop},
    testing::SeededEntropy,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
};

use crate::spawner::{order, quiet};

/// What such an engine does with a request: its first line, and the connection.
type Manner = fn(String, UnixStream) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// No call may take longer, whatever the engine does.
const LIMIT: Duration = Duration::from_secs(10);

struct Fake {
    folder: TempDir,
    spawner: Arc<dyn Spawner>,
}

impl Fake {
    fn socket(folder: &Path) -> PathBuf {
        folder.join("engine.sock")
    }

    fn new(manner: Option<Manner>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = Self::socket(folder.path());
        if let Some(manner) = manner {
            let listener = UnixListener::bind(&socket).unwrap();
            tokio::spawn(async move {
                while let Ok((mut stream, _)) = listener.accept().await {
                    tokio::spawn(async move {
                        let mut head = Vec::new();
                        while !head.windows(4).any(|it| it == b"\r\n\r\n") {
                            match stream.read_buf(&mut head).await {
                                Ok(read) if read > 0 => {}
                                _ => return,
                            }
                        }
                        let head = String::from_utf8_lossy(&head);
                        let first = head.lines().next().unwrap_or_default().to_owned();
                        manner(first, stream).await;
                    });
                }
            });
        }
        let docker = sections::Docker {
            socket: format!("unix://{}", socket.display()),
            image: "a/b:1".to_owned(),
            pull_policy: PullPolicy::IfNotPresent,
            ..sections::Docker::default()
        };
        let settings = sections::Spawner {
            class: SpawnerClass::Docker(docker),
            ..sections::Spawner::default()
        };
        let spawner = Arc::new(Docker::begin(
            Arc::new(ArcSwap::from_pointee(settings)),
            "hub".to_owned(),
            Outputs::open(folder.path()).unwrap(),
            Arc::new(Expected::default()),
            Arc::new(SeededEntropy::new(1)),
        ));
        Self { folder, spawner }
    }
}

async fn say(mut stream: UnixStream, status: &str, body: &str) {
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_gives_no_answer_says_nothing_of_servers() {
    let manners: [(&str, Option<Manner>); 7] = [
        ("away", None),
        (
            "hangs",
            Some(|_, stream| {
                Box::pin(async move {
                    std::future::pending::<()>().await;
                    drop(stream);
                })
            }),
        ),
        (
            "fails",
            Some(|_, stream| {
                Box::pin(async move {
                    say(stream, "500 Internal Server Error", "{\"message\": \"broken\"}").await;
                })
            }),
        ),
        ("hangs up", Some(|_, stream| Box::pin(async move { drop(stream) }))),
        (
            "is cut off",
            Some(|_, mut stream| {
                Box::pin(async move {
                    _ = stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n[{\"Id\": ")
                        .await;
                })
            }),
        ),
        (
            "is no engine",
            Some(|_, stream| {
                Box::pin(async move {
                    say(stream, "200 OK", "<html>hello</html>").await;
                })
            }),
        ),
        (
            "never ends",
            Some(|_, mut stream| {
                Box::pin(async move {
                    _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n[").await;
                    let blanks = vec![b' '; 1 << 20];
                    while stream.write_all(&blanks).await.is_ok() {}
                })
            }),
        ),
    ];
    let tried = manners.into_iter().map(|(what, manner)| async move {
        let fake = Fake::new(manner);
        let (order, spawner) = (order(1), &fake.spawner);
        let begun = Instant::now();
        let (found, all, started, stopped, waited) = tokio::join!(
            spawner.recover(&order.id, None),
            spawner.inventory(),
            spawner.start(&order, quiet()),
            async {
                let handle = jovis_actors::ports::Handle("{}".to_owned());
                spawner.stop(&order.id, &handle, Stop::Hard).await
            },
            async {
                let handle = jovis_actors::ports::Handle("{}".to_owned());
                spawner.wait(&order.id, &handle).await
            },
        );
        assert!(begun.elapsed() < LIMIT, "{what}: {:?}", begun.elapsed());
        assert!(found.is_err(), "{what}: {found:?}");
        assert!(all.is_err(), "{what}: {all:?}");
        assert!(matches!(started, Err(SpawnError::Failed(_))), "{what}: {started:?}");
        assert!(stopped.is_err(), "{what}: {stopped:?}");
        assert!(waited.is_err(), "{what}: {waited:?}");
        let words = started.unwrap_err().to_string();
        assert!(words.contains("container engine"), "{what}: {words}");
        assert_eq!(spawner.log_tail(&order.id, 100).await, "", "{what}");
        drop(fake.folder);
    });
    for tried in tried.map(tokio::spawn).collect::<Vec<_>>() {
        tried.await.unwrap();
    }
}

#[tokio::test]
async fn a_fetch_is_told_and_its_failure_too() {
    let fake = Fake::new(Some(|first, mut stream| {
        Box::pin(async move {
            let mut words = first.split(' ');
            match (words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
                ("GET", path) if path.starts_with("/containers/json") => {
                    say(stream, "200 OK", "[]").await
                }
                ("GET", "/images/a/b:1/json") => {
                    say(stream, "404 Not Found", "{\"message\": \"no\"}").await
                }
                ("POST", path)
                    if path.starts_with("/images/create?")
                        && path.contains("fromImage=a%2Fb&tag=1") =>
                {
                    _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
                    for line in [
                        r#"{"status":"Downloading","id":"x","progressDetail":{"current":1048576,"total":4194304}}"#,
                        r#"{"status":"Downloading","id":"x","progressDetail":{"current":2097152,"total":4194304}}"#,
                        r#"{"errorDetail":{"message":"toomanyrequests: come later"},"error":"toomanyrequests"}"#,
                    ] {
                        _ = stream.write_all(format!("{line}\r\n").as_bytes()).await;
                        tokio::time::sleep(Duration::from_millis(1100)).await;
                    }
                }
                (_, "/events") | (_, _) => std::future::pending::<()>().await,
            }
        })
    }));
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let tell = Progress::new(move |sentence| heard.lock().unwrap().push(sentence));
    let error = fake.spawner.start(&order(1), tell).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image a/b:1 cannot be fetched: the container engine refuses: toomanyrequests: come later"
    );
    assert!(matches!(error, SpawnError::Refused(_)));
    let told = told.lock().unwrap().clone();
    assert_eq!(told[0], "Fetching the image a/b:1");
    assert!(
        told.contains(&"Fetching the image a/b:1: 0 of 1 layers, 2 of 4 MB".to_owned()),
        "{told:?}"
    );
    assert_eq!(fake.spawner.recover(&order(1).id, None).await.unwrap(), Recovered::Unknown);
}
