//! How pages look: templates, logo, colours, language.

use super::Say;
use crate::config::{Config, look, world::World};

/// What would break pages, or would be ignored.
pub(super) fn look(say: &mut Say<'_>, config: &Config, world: &dyn World) {
    let hub = &config.hub;
    for folder in &hub.template_paths {
        if !world.facts(folder).is_some_and(|facts| facts.folder) {
            say.error("hub.template_paths", format!("there is no folder {}", folder.display()));
        }
    }
    let all_there = hub.template_paths.iter().all(|folder| world.facts(folder).is_some());
    // A hub that found this out by itself would be started again and again.
    if let Some(fault) = all_there.then(|| world.template_fault(&hub.template_paths)).flatten() {
        say.error("hub.template_paths", fault);
    }
    if !hub.logo_file.as_os_str().is_empty()
        && let Some(fault) = world.logo_fault(&hub.logo_file)
    {
        say.error("hub.logo_file", fault);
    }
    for (name, value) in &hub.colors {
        if let Err(fault) = look::color(name, value) {
            say.error("hub.colors", fault);
        }
    }
    if !hub.language.is_empty() && !look::LANGUAGES.contains(&hub.language.as_str()) {
        let there = look::LANGUAGES.join(", ");
        say.error("hub.language", format!("`{}` is not there; there are {there}", hub.language));
    }
    let site = hub.site_name.trim();
    if site.is_empty() || site.chars().count() > 60 || site.chars().any(char::is_control) {
        say.error("hub.site_name", "a name of 1 to 60 characters");
    }
    let leads = hub.logo_url.as_str();
    if !(leads.is_empty()
        || leads.starts_with('/')
        || leads.starts_with("https://")
        || leads.starts_with("http://"))
    {
        say.error("hub.logo_url", "an address that begins with / or https://");
    }
}
