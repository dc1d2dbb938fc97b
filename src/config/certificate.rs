//! Certificates and keys of the public listener: do they belong together, whose are they, and until when are they good?
//! Pure.

use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

/// Can the certificate and its key, both PEM, be used, and do they belong together?
///
/// # Errors
///
/// Why not, in words that quote nothing of the key.
pub fn fits(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate).collect();
    let chain = chain.map_err(|error| format!("the certificate is damaged: {error}"))?;
    if chain.is_empty() {
        return Err("there is no certificate in the file".to_owned());
    }
    // Its errors may quote the file, and it holds a key: they are not passed on.
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "the key is damaged or encrypted".to_owned())?;
    match rustls::sign::CertifiedKey::from_der(
        chain,
        key,
        &rustls::crypto::ring::default_provider(),
    ) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err("the key belongs to another certificate".to_owned())
        }
        Err(error) => Err(format!("certificate or key cannot be used: {error}")),
    }
}

/// Can these be authorities, and is there one?
///
/// # Errors
///
/// Why not.
pub fn authorities(pem: &[u8]) -> Result<rustls::RootCertStore, String> {
    let mut roots = rustls::RootCertStore::empty();
    for one in CertificateDer::pem_slice_iter(pem) {
        let one = one.map_err(|error| format!("a certificate is damaged: {error}"))?;
        roots.add(one).map_err(|error| format!("a certificate cannot be used: {error}"))?;
    }
    if roots.is_empty() { Err("there is no certificate in the file".to_owned()) } else { Ok(roots) }
}

/// The second since 1970 after which the first certificate of this PEM file is no longer good; none where that cannot
/// be read.
pub fn expiry(pem: &[u8]) -> Option<i64> {
    validity(pem).map(|(_, end)| end)
}

/// The seconds since 1970 between which the first certificate of this PEM file is good; none where they cannot be read.
pub fn validity(pem: &[u8]) -> Option<(i64, i64)> {
    let certificate = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let (_, validity, _) = element(from_validity(&certificate)?)?;
    let (tag, text, rest) = element(validity)?;
    let begin = moment(tag, std::str::from_utf8(text).ok()?)?;
    let (tag, text, _) = element(rest)?;
    Some((begin, moment(tag, std::str::from_utf8(text).ok()?)?))
}

/// The host names that the first certificate of this PEM file bears (RFC 5280, section 4.2.1.6), in lower case; one may
/// begin with `*.`. Its common name is none: browsers don't look at it either.
pub fn names(pem: &[u8]) -> Vec<String> {
    let certificate = CertificateDer::pem_slice_iter(pem).next();
    let found = certificate.and_then(Result::ok).and_then(|certificate| {
        let mut names = Vec::new();
        let mut rest = alternative_names(&certificate)?;
        while let Some((tag, name, more)) = element(rest) {
            // [2], dNSName.
            if tag == 0x82
                && let Ok(name) = std::str::from_utf8(name)
            {
                names.push(name.to_ascii_lowercase());
            }
            rest = more;
        }
        Some(names)
    });
    found.unwrap_or_default()
}

/// The key identifier of who signed the first certificate of this PEM file, and its serial number, as they stand there
/// (RFC 5280, sections 4.2.1.1 and 4.1.2.2); none where one is missing.
pub fn identifier(pem: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let certificate = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
    let (tag, authority, _) = element(extension(&certificate, &[0x55, 0x1D, 0x23])?)?;
    let (_, serial, _) = element(from_serial(&certificate)?)?;
    // [0], keyIdentifier.
    (tag == 0x80).then(|| (authority.to_vec(), serial.to_vec()))
}

/// The content of the extension subjectAltName.
fn alternative_names(certificate: &[u8]) -> Option<&[u8]> {
    extension(certificate, &[0x55, 0x1D, 0x11])
}

/// The content of the extension with this identifier, where that is a sequence.
fn extension<'a>(certificate: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    // Behind validity stand the subject and its key; then what is optional, of which the extensions are [3].
    let mut fields = from_validity(certificate)?;
    while element(fields)?.0 != 0xA3 {
        fields = element(fields)?.2;
    }
    let (_, extensions, _) = element(element(fields)?.1)?;
    let mut rest = extensions;
    loop {
        let (_, extension, more) = element(rest)?;
        let (_, id, value) = element(extension)?;
        if id == wanted {
            // A flag may stand in front of the value, which is packed once more.
            let (tag, content, behind) = element(value)?;
            let packed = if tag == 0x01 { element(behind)?.1 } else { content };
            return Some(element(packed)?.1);
        }
        rest = more;
    }
}

/// A certificate's fields from its validity on.
fn from_validity(certificate: &[u8]) -> Option<&[u8]> {
    // Serial number, algorithm, issuer; then the two moments.
    let mut fields = from_serial(certificate)?;
    for _ in 0..3 {
        fields = element(fields)?.2;
    }
    Some(fields)
}

/// A certificate's fields from its serial number on.
fn from_serial(certificate: &[u8]) -> Option<&[u8]> {
    let (_, whole, _) = element(certificate)?;
    let (_, fields, _) = element(whole)?;
    // Behind a version, if there is one.
    let (tag, _, rest) = element(fields)?;
    Some(if tag == 0xA0 { rest } else { fields })
}

/// Tag, content and what follows: the head of DER.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7F))?;
        if digits.len() > 4 {
            return None;
        }
        (digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), rest)
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `261121223216Z` (until 2049) or `21261028223216Z`.
fn moment(tag: u8, text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z').filter(|text| text.bytes().all(|c| c.is_ascii_digit()))?;
    let (year, rest) = match tag {
        0x17 => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        0x18 => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let pair = |at: usize| rest.get(at..at + 2)?.parse::<i64>().ok();
    let (month, day) = (pair(0)?, pair(2)?);
    let seconds = pair(4)? * 3600 + pair(6)? * 60 + pair(8)?;
    // Days before a month's first in a year that begins with March; its leap day is the last.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1;
    Some((days - 719_468) * 86_400 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_certificate_is_read() {
        // As openssl says: Oct 28 22:32:16 2126 GMT, and a second later.
        let ec = include_bytes!("../proxy/tests/tls/ec-cert.pem");
        let rsa = include_bytes!("../proxy/tests/tls/rsa-cert.pem");
        assert_eq!(expiry(ec), Some(4_948_900_336));
        assert_eq!(expiry(rsa), Some(4_948_900_337));
        assert_eq!(expiry(include_bytes!("../proxy/tests/tls/ec-sec1.pem")), None);
        assert_eq!(expiry(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), None);
    }

    #[test]
    fn the_names_of_a_certificate_are_read() {
        let named = include_bytes!("../proxy/tests/tls/names-cert.pem");
        assert_eq!(names(named), ["hub.example.org", "*.lab.example.org"]);
        assert_eq!(names(include_bytes!("../proxy/tests/tls/ec-cert.pem")), ["localhost"]);
        assert!(names(include_bytes!("../proxy/tests/tls/ec-sec1.pem")).is_empty());
        assert!(
            names(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").is_empty()
        );
    }

    #[test]
    fn moments_are_counted_from_1970() {
        let table = [
            (0x17, "700101000000Z", Some(0)),
            (0x17, "491231235959Z", Some(2_524_607_999)),
            (0x18, "20240229120000Z", Some(1_709_208_000)),
            (0x18, "20260301000000Z", Some(1_772_323_200)),
            (0x17, "70010100000Z", None),
            (0x17, "700101000000", None),
            (0x05, "700101000000Z", None),
        ];
        for (tag, text, want) in table {
            assert_eq!(moment(tag, text), want, "{text}");
        }
    }

    #[test]
    fn a_file_that_was_cut_is_no_certificate() {
        let der = CertificateDer::from_pem_slice(include_bytes!("../proxy/tests/tls/ec-cert.pem"));
        let der = der.unwrap();
        for length in 0..der.len() {
            assert!(element(&der[..length]).is_none(), "{length}");
        }
        assert!(element(&[0x30, 0x85, 1, 1, 1, 1, 1]).is_none());
    }
}
