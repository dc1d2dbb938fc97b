pub(crate) const NOT_BUILT: &[(&str, u32)] = &[("pages: GET /hub/admin as *", 5)];
