//! Forms do what the API does, for the same caller and by the same checks: the row of the table is looked up, its scopes are
//! asked for, its handler is called.

use std::sync::LazyLock;

use http::Method;
use serde_json::Value;

use crate::web::{
    answer::Answer,
    call::Call,
    error::Error,
    form::Form,
    table::{self, Names, Row},
};

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(table::rows);

/// What this method of the API's row at `path` answers to whoever asks here.
pub(super) async fn api(
    call: &mut Call,
    method: Method,
    path: &str,
    names: &[(&str, &str)],
    body: Option<Value>,
) -> Answer {
    let row = ROWS.iter().find(|row| row.paths[0] == path).expect("a path of the table");
    let deed = row.deed(&method).expect("a method of that row");
    let own = |(place, name): &(&str, &str)| ((*place).to_owned(), (*name).to_owned());
    let names = Names(names.iter().map(own).collect());
    deed.admits(call, row.of, &names)?;
    call.replace_body(body);
    (deed.handler)(call, &names).await
}

/// A form of ours that comes back: its fields, if it is.
pub(super) async fn form(call: &mut Call) -> Result<Form, Error> {
    let form = call.form(super::FORM).await?;
    call.require_xsrf(Some(&form))?;
    Ok(form)
}
