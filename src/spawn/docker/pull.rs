//! What an engine tells while it fetches an image, as sentences for the person who waits: pure.

use std::collections::HashMap;

use bollard::models::CreateImageInfo;

/// Most layers that are counted: an engine may name as many as it likes.
const LAYERS: usize = 1000;

/// One fetch.
#[derive(Debug)]
pub struct Pull {
    image: String,
    layers: HashMap<String, Layer>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Layer {
    current: u64,
    total: u64,
    done: bool,
}

impl Pull {
    /// Of this image.
    pub fn new(image: &str) -> Self {
        Self { image: image.to_owned(), layers: HashMap::new() }
    }

    /// One line has come.
    pub fn heard(&mut self, line: &CreateImageInfo) {
        let (Some(id), Some(status)) = (&line.id, &line.status) else { return };
        // The first line names the tag, not a layer.
        if status.starts_with("Pulling from")
            || (!self.layers.contains_key(id) && self.layers.len() >= LAYERS)
        {
            return;
        }
        let layer = self.layers.entry(id.clone()).or_default();
        match status.as_str() {
            "Pull complete" | "Already exists" => layer.done = true,
            "Downloading" => {
                let said = line.progress_detail.as_ref();
                let number =
                    |it: Option<i64>| it.and_then(|it| u64::try_from(it).ok()).unwrap_or(0);
                layer.total = number(said.and_then(|it| it.total));
                layer.current = number(said.and_then(|it| it.current)).min(layer.total);
            }
            "Download complete" | "Extracting" | "Verifying Checksum" => {
                layer.current = layer.total
            }
            _ => {}
        }
    }

    /// How far it is.
    pub fn sentence(&self) -> String {
        let image = &self.image;
        if self.layers.is_empty() {
            return format!("Fetching the image {image}");
        }
        let done = self.layers.values().filter(|it| it.done).count();
        let sum = |of: fn(&Layer) -> u64| self.layers.values().map(of).fold(0, u64::saturating_add);
        let (current, total) = (sum(|it| it.current) >> 20, sum(|it| it.total) >> 20);
        let layers = self.layers.len();
        match total {
            0 => format!("Fetching the image {image}: {done} of {layers} layers"),
            _ => format!(
                "Fetching the image {image}: {done} of {layers} layers, {current} of {total} MB"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_counted() {
        let mut pull = Pull::new("a/b:1");
        assert_eq!(pull.sentence(), "Fetching the image a/b:1");
        for line in [
            serde_json::json!({"status": "Pulling from a/b", "id": "1"}),
            serde_json::json!({"status": "Pulling fs layer", "id": "aa"}),
            serde_json::json!({"status": "Already exists", "id": "bb"}),
            serde_json::json!({"status": "Downloading", "id": "aa", "progressDetail": {"current": 3 << 20, "total": 9 << 20}}),
            serde_json::json!({"status": "Downloading", "id": "cc", "progressDetail": {"current": -1, "total": -7}}),
            serde_json::json!({"status": "Digest: sha256:ff"}),
        ] {
            pull.heard(&serde_json::from_value(line).unwrap());
        }
        assert_eq!(pull.sentence(), "Fetching the image a/b:1: 1 of 3 layers, 3 of 9 MB");
    }

    #[test]
    fn layers_are_bounded() {
        let mut pull = Pull::new("a");
        for n in 0..5000 {
            let line = serde_json::json!({"status": "Waiting", "id": n.to_string()});
            pull.heard(&serde_json::from_value(line).unwrap());
        }
        assert_eq!(pull.layers.len(), LAYERS);
    }
}
