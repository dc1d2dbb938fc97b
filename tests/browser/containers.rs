//! A server in a container, as its user sees it: `containers.py`.

use std::net::TcpListener;

use crate::{
    MINUTES, address, alone, as_root, pictures,
    support::{
        Plan, Script,
        engine::{Engine, IMAGE, NETWORK},
        unique,
    },
};

const PASSWORD: &str = "anybody's word";

#[test]
fn a_person_watches_an_image_come_and_works_in_its_container() {
    as_root!();
    let Some(engine) = Engine::shared() else { return };
    let _alone = alone();
    // The story's registry will be there.
    let port = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr());
    let port = port.expect("there is a free one").port().to_string();
    let class = format!(
        r#"Docker(socket: {:?}, image: {IMAGE:?}, network_name: {NETWORK:?}, prefix: "b{}",
            allowed_images: {{"Usual": {IMAGE:?}, "Fetched": "127.0.0.1:{port}/slow:1", "Gone": "127.0.0.1:{port}/gone:1"}},
            cmd: ["/usr/bin/python3", "-IS", "FOLDER/fake_singleuser.py", "ok"],
            volumes: {{"/usr": "/usr:ro", "FOLDER": "FOLDER:ro"}})"#,
        engine.socket(),
        unique()
    );
    let site = Plan::quick()
        .set("auth.class", &format!("Dummy(password: {PASSWORD:?})"))
        .set("hub.hub_ip", &format!("{:?}", engine.gateway()))
        .set("spawner.term_timeout", "1")
        .set("spawner.class", &class)
        .start();
    let name = format!("guest{}", unique());
    let story: [&str; 4] = [&address(&site), &name, &pictures("containers"), &port];
    Script::start("containers.py", &story, PASSWORD).done(MINUTES);
    assert_eq!(engine.containers(&format!("jovis.user={name}")), [""; 0]);
}
