//! Root's and the hub's links: beginning, reload, draining, end.
