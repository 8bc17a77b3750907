use std::fs;

use bantam_store::{Added, HubSettings, ModelName, PullError, PullEvent, Store};
use tempfile::TempDir;

use crate::hub::{COMMIT, Fault, Hub};
use crate::tiny_model;

struct Fixture {
    _folder: TempDir,
    store: Store,
    model: Vec<u8>,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let model = fs::read(tiny_model::write(folder.path())).unwrap();
    Fixture { store: Store::open(folder.path().join("store")), model, _folder: folder }
}

impl Fixture {
    fn hub(&self, fault: Fault) -> Hub {
        Hub::start(&[("tiny-Q8_0.gguf", &self.model), ("README.md", b"hello")], fault)
    }

    fn pull(&self, name: &str, settings: &HubSettings) -> Result<(Added, u32), PullError> {
        let name: ModelName = name.parse().unwrap();
        let mut retries = 0;
        let mut tell = |event: PullEvent<'_>| retries += u32::from(matches!(event, PullEvent::Retry { .. }));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let added = runtime.block_on(self.store.pull(&name, settings, &mut tell))?;
        Ok((added, retries))
    }

    fn fails(&self, fault: Fault) -> (PullError, Hub) {
        let hub = self.hub(fault);
        let error = self.pull("org/tiny", &hub.settings()).unwrap_err();
        assert!(self.store.list().unwrap().models.is_empty());
        assert!(!error.hint().is_empty());
        (error, hub)
    }
}

#[test]
fn a_pulled_model_is_complete_and_tagged_with_its_quantisation() {
    let fixture = fixture();
    let hub = fixture.hub(Fault::None);
    let (added, retries) = fixture.pull("hf.co/org/tiny", &hub.settings()).unwrap();
    assert_eq!((added.entry.name.to_string().as_str(), retries), ("org/tiny:Q8_0", 0));
    assert_eq!(fs::read(&added.entry.path).unwrap(), fixture.model);
    let json = serde_json::to_value(&added.entry.manifest.origin).unwrap();
    assert_eq!(json["commit"], COMMIT);
    assert_eq!(fixture.store.unfinished_bytes(), 0);
    let seen = hub.seen.lock().unwrap();
    assert!(seen.was_told && !seen.leaked);
    assert_eq!(seen.bytes, fixture.model.len());
}

#[test]
fn waiting_for_the_store_s_lock_holds_up_nobody_else() {
    let fixture = fixture();
    let hub = fixture.hub(Fault::None);
    fs::create_dir_all(fixture.store.root()).unwrap();
    let lock = fs::File::options().create(true).append(true).open(fixture.store.root().join("lock")).unwrap();
    lock.lock().unwrap();
    let (whole, mut came) = (fixture.model.len() as u64, 0);
    let (all_came, wait) = tokio::sync::oneshot::channel();
    let mut all_came = Some(all_came);
    let mut tell = |event: PullEvent<'_>| {
        if let PullEvent::Advanced { bytes } = event {
            came += bytes;
        }
        if came >= whole {
            all_came.take().map(|all_came| all_came.send(()));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (name, settings) = ("org/tiny".parse().unwrap(), hub.settings());
    // A thread that waits for the lock could not let go of it.
    let let_go = async move {
        wait.await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        drop(lock);
    };
    let both = async { tokio::join!(fixture.store.pull(&name, &settings, &mut tell), let_go).0 };
    runtime.block_on(both).unwrap();
}

#[test]
fn pulling_again_downloads_nothing() {
    let fixture = fixture();
    let hub = fixture.hub(Fault::None);
    fixture.pull("org/tiny", &hub.settings()).unwrap();
    assert!(fixture.pull("org/tiny:q8_0", &hub.settings()).unwrap().0.was_there);
    assert_eq!(hub.seen.lock().unwrap().bytes, fixture.model.len());
}

#[test]
fn an_interrupted_download_resumes_without_repeating_bytes() {
    let fixture = fixture();
    let hub = fixture.hub(Fault::BreaksOff(3, 20_000));
    let (_, retries) = fixture.pull("org/tiny", &hub.settings()).unwrap();
    assert_eq!(retries, 3);
    let seen = hub.seen.lock().unwrap();
    assert_eq!(seen.starts, [0, 20_000, 40_000, 60_000]);
    assert_eq!(seen.bytes, fixture.model.len());
}

#[test]
fn a_new_process_resumes_the_download_of_an_ended_one() {
    let fixture = fixture();
    let hub = fixture.hub(Fault::BreaksOff(1, 30_000));
    let once = HubSettings { attempts: 1, ..hub.settings() };
    let error = fixture.pull("org/tiny", &once).unwrap_err();
    assert!(matches!(error, PullError::GaveUp { have: 30_000, .. }), "{error}");
    assert_eq!(fixture.store.unfinished_bytes(), 30_000);
    fixture.pull("org/tiny", &once).unwrap();
    assert_eq!(hub.seen.lock().unwrap().bytes, fixture.model.len());
}

#[test]
fn a_download_restarts_if_the_server_ignores_the_range() {
    let fixture = fixture();
    let hub = fixture.hub(Fault::BreaksOffAndIgnoresRange(1, 30_000));
    let (added, _) = fixture.pull("org/tiny", &hub.settings()).unwrap();
    assert_eq!(fs::read(&added.entry.path).unwrap(), fixture.model);
    assert_eq!(hub.seen.lock().unwrap().bytes, fixture.model.len() + 30_000);
}

#[test]
fn a_file_with_a_wrong_hash_is_reported_and_deleted() {
    let fixture = fixture();
    let (error, _hub) = fixture.fails(Fault::Lies);
    assert!(matches!(&error, PullError::Hash { file, .. } if file == "tiny-Q8_0.gguf"), "{error}");
    assert_eq!(fixture.store.unfinished_bytes(), 0);
    let (error, _hub) = fixture.fails(Fault::IsLonger);
    assert!(matches!(error, PullError::Longer { .. } | PullError::Hash { .. }), "{error}");
}

#[test]
fn a_damaged_partial_download_is_detected() {
    let fixture = fixture();
    let partial = fixture.store.root().join("partial");
    fs::create_dir_all(&partial).unwrap();
    let digest = bantam_store::Digest::of(&fixture.model);
    fs::write(partial.join(format!("sha256-{digest}")), vec![7; 1_000]).unwrap();
    let (error, hub) = fixture.fails(Fault::None);
    assert!(matches!(error, PullError::Hash { .. }), "{error}");
    fixture.pull("org/tiny", &hub.settings()).unwrap();
}

#[test]
fn a_stalled_connection_is_abandoned_and_reported() {
    let fixture = fixture();
    let hub = fixture.hub(Fault::Stalls);
    let settings =
        HubSettings { attempts: 2, stall: std::time::Duration::from_millis(100), ..hub.settings() };
    let error = fixture.pull("org/tiny", &settings).unwrap_err();
    let PullError::GaveUp { have, source, .. } = error else { panic!("{error}") };
    assert!(have >= 100 && source.to_string().contains("sent nothing"), "{source}");
}

#[test]
fn an_overloaded_hub_is_retried_and_a_broken_one_is_reported() {
    let fixture = fixture();
    let hub = fixture.hub(Fault::Status(2, 503));
    assert_eq!(fixture.pull("org/tiny", &hub.settings()).unwrap().1, 2);
    let broken = fixture.hub(Fault::Status(99, 500));
    let error = fixture.pull("org/tiny@other", &broken.settings()).unwrap_err();
    assert!(error.to_string().contains("500"), "{error}");
}

#[test]
fn gated_missing_and_untagged_models_get_different_errors() {
    let fixture = fixture();
    let (error, _hub) = fixture.fails(Fault::Gated);
    assert!(error.is_refused() && error.hint().contains("HF_TOKEN"), "{error}");
    let hub = fixture.hub(Fault::None);
    for (name, expected) in
        [("org/none", "no such repository"), ("org/tiny:Q4_0", "tiny-Q8_0.gguf"), ("tiny", "ORG/REPO")]
    {
        let error = fixture.pull(name, &hub.settings()).unwrap_err();
        assert!(error.is_missing() && error.to_string().contains(expected), "{name}: {error}");
    }
}

#[test]
fn an_unsupported_architecture_is_refused_before_its_weights_are_downloaded() {
    let fixture = fixture();
    let hub = Hub::of_architecture(&[("tiny-Q8_0.gguf", &fixture.model)], Fault::None, "mamba");
    let error = fixture.pull("org/tiny", &hub.settings()).unwrap_err();
    assert!(matches!(&error, PullError::Architecture { found } if found == "mamba"), "{error}");
    let config = br#"{"model_type":"rwkv"}"#;
    let hub = Hub::start(&[("config.json", config), ("model.safetensors", &[0; 4_000])], Fault::None);
    let error = fixture.pull("org/tiny", &hub.settings()).unwrap_err();
    assert!(matches!(&error, PullError::Architecture { found } if found == "rwkv"), "{error}");
    assert_eq!(hub.seen.lock().unwrap().bytes, config.len());
}

#[test]
fn a_downloaded_file_that_is_not_a_model_is_refused() {
    let fixture = fixture();
    let hub = Hub::start(&[("tiny-Q8_0.gguf", b"this is no model")], Fault::None);
    let error = fixture.pull("org/tiny", &hub.settings()).unwrap_err();
    assert!(matches!(error, PullError::Import(_)), "{error}");
    assert!(fixture.store.list().unwrap().models.is_empty());
}

#[test]
fn a_refused_connection_is_an_error_with_a_hint() {
    let settings =
        HubSettings { endpoint: "http://127.0.0.1:9".to_owned(), attempts: 1, ..HubSettings::public() };
    let error = fixture().pull("org/tiny", &settings).unwrap_err();
    assert!(error.hint().contains("HF_ENDPOINT"), "{error}");
}

#[test]
fn a_proxy_gets_https_requests_and_its_own_login_but_not_the_token() {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut asked = vec![0; 1_000];
        let count = stream.read(&mut asked).unwrap();
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").unwrap();
        String::from_utf8(asked[..count].to_vec()).unwrap()
    });
    let settings = HubSettings {
        endpoint: "https://hub.invalid".to_owned(),
        token: Some("hf_secret".to_owned()),
        proxy: Some(format!("http://user:pw@127.0.0.1:{port}")),
        no_proxy: vec!["other.invalid".to_owned()],
        attempts: 1,
        ..HubSettings::public()
    };
    let error = fixture().pull("org/tiny", &settings).unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("proxy authorization required"), "{error}: {cause}");
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("CONNECT hub.invalid:443 HTTP/1.1\r\n"), "{asked}");
    assert!(
        asked.contains("Proxy-Authorization: Basic dXNlcjpwdw==") && !asked.contains("hf_secret"),
        "{asked}"
    );
}

#[test]
fn two_processes_never_write_the_same_download() {
    let fixture = fixture();
    let hub = fixture.hub(Fault::None);
    let partial = fixture.store.root().join("partial");
    fs::create_dir_all(&partial).unwrap();
    let digest = bantam_store::Digest::of(&fixture.model);
    let other = fs::File::create(partial.join(format!("sha256-{digest}"))).unwrap();
    other.lock().unwrap();
    let error = fixture.pull("org/tiny", &hub.settings()).unwrap_err();
    assert!(matches!(error, PullError::Busy { .. }), "{error}");
    assert_eq!(fixture.store.remove_unfinished().unwrap(), 0);
    drop(other);
    fixture.pull("org/tiny", &hub.settings()).unwrap();
}
