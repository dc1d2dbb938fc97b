//! Properties of what the REST API reads.

use serde_json::Value;

use super::{spec, stamps};
use crate::proxy::table::Routes;

/// Routes, their data and moments: what is taken is told again as it is.
pub fn rest(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else { return };
    let split = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (raw, body) = (&bytes[..split], bytes.get(split + 1..).unwrap_or_default());
    let Ok(raw) = std::str::from_utf8(raw) else { return };
    if let Some(moment) = stamps::parse(raw) {
        assert_eq!(stamps::parse(&stamps::text(moment)), Some(moment), "{raw:?}");
    }
    let hosts = first & 1 == 1;
    let Some(spec) = spec::read(raw, hosts) else { return };
    let listed = spec::listed(spec.as_str());
    let encoded: String = listed.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(spec::read(&encoded, hosts).as_ref(), Some(&spec), "{raw:?}");
    let Ok((route, data)) = spec::route(spec.clone(), body) else { return };
    let (routes, url) = (Routes::new(), route.target.clone());
    routes.store(route, &data, 0);
    let entry = routes.exactly(&spec).expect("it was just stored");
    let mut told = String::new();
    spec::told(&entry, entry.data(), Some(0), &mut told);
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    let sent: Value = serde_json::from_slice(body).expect("it was read before");
    assert_eq!(told["target"], url);
    for (name, value) in sent.as_object().expect("a route is an object") {
        if !matches!(&**name, "last_activity" | "host") {
            assert_eq!(&told[name], value, "{name}");
        }
    }
}
