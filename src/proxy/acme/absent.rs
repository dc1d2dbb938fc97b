//! In a build without ACME: nothing is got. (The configuration's check refuses to be asked for it.)

use std::{future::pending, os::fd::OwnedFd, sync::Arc};

use crate::{config::slice::ProxySlice, proxy::shared::Shared};

/// Keeps nothing.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Keeper;

impl Keeper {
    /// Nothing.
    pub(in crate::proxy) fn of(_: &ProxySlice, _: Option<OwnedFd>, _: Option<&Self>) -> Self {
        Self
    }

    /// None.
    pub(in crate::proxy) fn identity(&self) -> Option<(&[u8], &[u8])> {
        None
    }

    /// None.
    pub(in crate::proxy) fn chain(&self) -> Option<&[u8]> {
        None
    }

    /// Does not begin.
    pub(in crate::proxy) fn begin(&mut self, _: &Arc<Shared>, _: Option<Self>) {}

    /// Never.
    pub(in crate::proxy) async fn renewed(&mut self) {
        pending().await
    }
}
