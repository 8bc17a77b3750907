use std::time::SystemTime;

use bantam_config::Purpose;
use bantam_deploy::{
    CertificateState, DeployWarning, Disk, FilesRead, Inputs, VoidReason, build_deployment,
    certificate_state, local_models, task_student,
};
use bantam_deploy::{ModelAccess, ModelMemory};
use bantam_route::Certificate;

use crate::desk::{Desk, MODELS};

const TASK: &str = "[tasks.intent]\nkind = 'classify'\nstudent = 'intent.student'\n";

fn certificate(task: &str, student_sha256: &str) -> String {
    let certificate = Certificate {
        version: bantam_route::certificate::CERTIFICATE_VERSION,
        task: task.parse().unwrap(),
        student_sha256: student_sha256.to_owned(),
        evidence_sha256: "cd".repeat(32),
        truth: "labels".to_owned(),
        threshold: 0.75,
        error_max: 0.02,
        confidence: 0.95,
        rows: 1000,
        accepted: 700,
        errors: 5,
        proved_at: "2026-11-21T00:00:00Z".to_owned(),
    };
    serde_json::to_string(&certificate).unwrap()
}

/// Returns what counts of a certificate, and the warnings of its deployment.
fn check(certificate: impl FnOnce(&str) -> Option<String>) -> (CertificateState, Vec<DeployWarning>) {
    let desk = Desk::new(&format!("{MODELS}{TASK}"));
    let hash = desk.train("intent.student", ["refund", "praise"]);
    if let Some(text) = certificate(&hash) {
        desk.write("intent.certificate.json", text);
    }
    let source = desk.source();
    let text = source.file.read().unwrap();
    let config = source.file.parse(&text, Purpose::Serve, &*source.env, &Disk).unwrap();
    let (name, task) = config.tasks.iter().next().unwrap();
    let memory = ModelMemory::with_threads(1);
    let models = local_models(&config, &memory).unwrap();
    let student = task_student(name, task, ModelAccess { memory: &memory, local: &models }).unwrap().unwrap();
    assert_eq!((student.sha256.as_str(), student.labels.len()), (hash.as_str(), 2));
    let files = FilesRead::begin(SystemTime::now());
    let inputs =
        Inputs { config: &config, env: &*source.env, previous: None, memory: &memory, files: &files };
    let warnings = build_deployment(inputs).unwrap().warnings;
    (certificate_state(name, task, &student.sha256).unwrap(), warnings)
}

#[test]
fn a_certificate_counts_for_its_own_student_and_task_alone() {
    assert_eq!(check(|_| None), (CertificateState::Missing, Vec::new()));
    let (held, warnings) = check(|hash| Some(certificate("intent", hash)));
    assert!(matches!(&held, CertificateState::Holds(found) if found.threshold == 0.75), "{held:?}");
    assert_eq!(warnings, []);
    let (void, warnings) = check(|_| Some(certificate("intent", &"ab".repeat(32))));
    assert_eq!(void, CertificateState::Void(VoidReason::OtherStudent));
    assert!(matches!(
        &warnings[..],
        [DeployWarning::VoidCertificate { reason: VoidReason::OtherStudent, .. }]
    ));
    assert!(warnings[0].to_string().contains("is void for the student of intent"), "{}", warnings[0]);
    let (void, _) = check(|hash| Some(certificate("other", hash)));
    assert_eq!(void, CertificateState::Void(VoidReason::OtherTask { task: "other".parse().unwrap() }));
}
