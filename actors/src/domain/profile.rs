//! What people may choose from when they start a server, as it stands in the configuration: data only. The rules are in
//! [`super::options`]. (Field names are those of KubeSpawner's `profile_list`, where it has them.)

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

/// One way to start a server, chosen by its owner.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// Its name in addresses, in the API and in the records: lower-case letters, digits and - . _
    pub slug: String,
    /// Its name for people. Empty: the slug.
    pub display_name: String,
    /// What it is good for, in a sentence or two. Plain text.
    pub description: String,
    /// Is it chosen where nobody has chosen? Otherwise the first is.
    pub default: bool,
    /// Groups whose members may use it. Empty: everybody may.
    pub groups: Vec<String>,
    /// What can be chosen with it. Each is a `(name: .., kind: ..)`.
    pub profile_options: Vec<ProfileOption>,
    /// What it sets.
    pub overrides: Overrides,
}

/// Something that can be chosen with a profile.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProfileOption {
    /// Its name in addresses, in the API and as `{name}` in `overrides`: lower-case letters, digits, - and _, a letter first.
    pub name: String,
    /// Its label in the form. Empty: its name.
    pub display_name: String,
    /// A sentence below its field. Plain text.
    pub help: String,
    /// Groups whose members may choose; for others it keeps its default. Empty: everybody may.
    pub groups: Vec<String>,
    /// What can be chosen: `Choice(..)`, `Number(..)`, `Text(..)` or `Image(..)`.
    pub kind: OptionKind,
}

/// What kind of thing can be chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum OptionKind {
    /// One of a list.
    Choice(Choice),
    /// A number.
    Number(Number),
    /// A text.
    Text(Text),
    /// An image, of a list or by name.
    Image(Image),
}

impl Default for OptionKind {
    fn default() -> Self {
        Self::Text(Text::default())
    }
}

/// One of a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Choice {
    /// The value chosen where nobody has chosen. Empty: the first.
    pub default: String,
    /// What there is. Each is a `(value: .., display_name: ..)`.
    pub choices: Vec<Offer>,
}

/// A number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Number {
    /// The least.
    pub min: f64,
    /// The most.
    pub max: f64,
    /// The distance from one value to the next, counted from the least. 0: any.
    pub step: f64,
    /// What is counted, behind the field: `GB`.
    pub unit: String,
    /// The number where nobody has chosen.
    pub default: f64,
}

impl Default for Number {
    fn default() -> Self {
        Self { min: 0.0, max: 0.0, step: 1.0, unit: String::new(), default: 0.0 }
    }
}

/// A text of one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Text {
    /// Most characters, at most 1000.
    pub max_length: u32,
    /// A regular expression that must match the whole of it. Empty: any text does.
    pub pattern: String,
    /// What to tell people whose text does not match.
    pub pattern_help: String,
    /// The text where nobody has chosen.
    pub default: String,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            max_length: 200,
            pattern: String::new(),
            pattern_help: String::new(),
            default: String::new(),
        }
    }
}

/// An image, of a list or by name. It is told to spawners that run images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Image {
    /// The image where nobody has chosen. Empty: the first.
    pub default: String,
    /// What there is. Each is a `(value: "quay.io/jupyter/base-notebook", display_name: "Small")`.
    pub choices: Vec<Offer>,
    /// Another image than those of the list.
    pub unlisted_choice: UnlistedChoice,
}

/// An image that is not on the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UnlistedChoice {
    /// May one be named?
    pub enabled: bool,
    /// The label of its field.
    pub display_name: String,
    /// A regular expression that must match the whole of its name. Empty: any name does.
    pub validation_regex: String,
    /// What to tell people whose image does not match.
    pub validation_message: String,
}

impl Default for UnlistedChoice {
    fn default() -> Self {
        Self {
            enabled: false,
            display_name: "Another image".to_owned(),
            validation_regex: String::new(),
            validation_message: String::new(),
        }
    }
}

/// One value of a list.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Offer {
    /// As it stands in addresses, in the API and in the records.
    pub value: String,
    /// For people. Empty: the value.
    pub display_name: String,
    /// What it sets, besides what the profile does.
    pub overrides: Overrides,
}

/// What a profile or a choice sets. `{name}` stands for the value of an option, `{username}` for the user.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Overrides {
    /// Environment variables; they go before all others.
    pub environment: BTreeMap<String, String>,
    /// The program and its first arguments, in place of `spawner.cmd`. Empty: as there.
    pub cmd: Vec<String>,
    /// Further arguments, behind all others.
    pub args: Vec<String>,
    /// Folder the server shows. Empty: as elsewhere.
    pub notebook_dir: String,
    /// Page the server opens with. Empty: as elsewhere.
    pub default_url: String,
    /// Image, for spawners that run images. Empty: as elsewhere, or what an `Image(..)` option says.
    pub image: String,
    /// Most memory, in bytes or like `2G`; told to the server as `MEM_LIMIT`. Empty: not said.
    pub mem_limit: String,
    /// Most processors, like `0.5`; told to the server as `CPU_LIMIT`. Empty: not said.
    pub cpu_limit: String,
}

impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let variables: Vec<_> = self.environment.keys().collect();
        f.debug_struct("Overrides")
            .field("environment", &variables)
            .field("cmd", &self.cmd)
            .field("args", &self.args)
            .finish_non_exhaustive()
    }
}
