pub(crate) const NOT_BUILT: &[(&str, u32)] = &[];
