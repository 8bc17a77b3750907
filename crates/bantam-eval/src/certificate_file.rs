//! Certificates on disk: small JSON files next to their student.

use std::io::Write;
use std::path::Path;

use bantam_route::Certificate;
use bantam_route::certificate::CERTIFICATE_VERSION;

/// The largest file that is read as a certificate.
const CERTIFICATE_BYTES_MAX: u64 = 64 * 1024;

/// Why a file could not be loaded as a certificate.
#[derive(Debug, thiserror::Error)]
pub enum LoadCertificateError {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Read(#[from] std::io::Error),
    /// The file is too large.
    #[error("not a valid certificate: larger than {CERTIFICATE_BYTES_MAX} bytes")]
    TooLarge,
    /// The file does not have the form of a certificate.
    #[error("not a valid certificate")]
    Shape(#[from] serde_json::Error),
    /// A newer Bantam wrote it.
    #[error("its version {0} is newer than this program supports: update Bantam or certify again")]
    Version(u32),
    /// Its numbers are impossible.
    #[error("its threshold or bound is out of range")]
    Range,
}

/// Reads a certificate and checks that its numbers make sense.
///
/// # Errors
/// See [`LoadCertificateError`].
pub fn load_certificate(path: &Path) -> Result<Certificate, LoadCertificateError> {
    if std::fs::metadata(path)?.len() > CERTIFICATE_BYTES_MAX {
        return Err(LoadCertificateError::TooLarge);
    }
    let certificate: Certificate = serde_json::from_slice(&std::fs::read(path)?)?;
    if certificate.version != CERTIFICATE_VERSION {
        return Err(LoadCertificateError::Version(certificate.version));
    }
    let open = |share: f64| share > 0.0 && share < 1.0;
    let sensible = (0.0..=1.0).contains(&certificate.threshold)
        && open(certificate.error_max)
        && open(certificate.confidence)
        && certificate.errors <= certificate.accepted
        && certificate.accepted <= certificate.rows;
    if sensible { Ok(certificate) } else { Err(LoadCertificateError::Range) }
}

/// Writes a certificate completely or not at all.
///
/// # Errors
/// If the folder cannot be written to.
pub fn save_certificate(certificate: &Certificate, path: &Path) -> std::io::Result<()> {
    let temporary = path.with_added_extension("partial");
    let mut file = std::fs::File::create(&temporary)?;
    let json = serde_json::to_vec_pretty(certificate).map_err(std::io::Error::other)?;
    file.write_all(&json)?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    drop(file);
    std::fs::rename(&temporary, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Certificate {
        Certificate {
            version: CERTIFICATE_VERSION,
            task: "intent".parse().unwrap(),
            student_sha256: "ab".repeat(32),
            evidence_sha256: "cd".repeat(32),
            truth: "labels".to_owned(),
            threshold: 0.75,
            error_max: 0.02,
            confidence: 0.95,
            rows: 1000,
            accepted: 700,
            errors: 5,
            proved_at: "2026-11-21T00:00:00Z".to_owned(),
        }
    }

    #[test]
    fn a_certificate_round_trips_and_is_valid_for_its_own_student_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        save_certificate(&certificate(), &path).unwrap();
        let read = load_certificate(&path).unwrap();
        assert_eq!(read, certificate());
        let task = "intent".parse().unwrap();
        assert!(read.holds_for(&task, &"ab".repeat(32)));
        assert!(!read.holds_for(&task, &"00".repeat(32)));
        assert!(!read.holds_for(&"other".parse().unwrap(), &"ab".repeat(32)));
    }

    #[test]
    fn rejects_invalid_certificates_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.json");
        let check = |text: &str, expected: &str| {
            std::fs::write(&path, text).unwrap();
            let error = load_certificate(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("", "not a valid certificate");
        check("{}", "not a valid certificate");
        let json = serde_json::to_string(&certificate()).unwrap();
        check(&json.replace("\"version\":1", "\"version\":9"), "newer");
        check(&json.replace("0.75", "7.5"), "out of range");
        check(&json.replace("\"errors\":5", "\"errors\":701"), "out of range");
        check(&json.replace("\"rows\"", "\"rovs\""), "not a valid certificate");
        check(&" ".repeat(70_000), "larger than");
    }
}
