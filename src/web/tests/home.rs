//! The home page: what it says of one's servers, and what one can do there.

use jovis_actors::usage::Usage;

use crate::web::testing::Hub;

#[tokio::test]
async fn home_tells_what_a_server_takes() {
    let hub = Hub::new();
    let mut bob = hub.browser("bob").await;
    bob.get("/hub/spawn").await;
    let home = bob.get("/hub/home").await;
    assert!(!home.text.contains("Memory"), "nobody has measured yet: {}", home.text);
    let usage = Usage { memory: 312 << 20, cpu: Some(0.125), processes: 3, ..Usage::default() };
    hub.doubles.usages.lock().unwrap().insert(hub.key("bob"), usage);
    let home = bob.get("/hub/home").await.text;
    assert!(home.contains("312 MB") && home.contains("12 %"), "{home}");
}
