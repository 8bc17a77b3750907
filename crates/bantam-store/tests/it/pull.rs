use std::fs;

use bantam_store::{Added, HubSettings, ModelName, PullError, PullEvent, Store};
use tempfile::TempDir;

use crate::hub::{COMMIT, Fault, Hub};
use crate::tiny_model;

struct Place {
    _folder: TempDir,
    store: Store,
    model: Vec<u8>,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let model = fs::read(tiny_model::write(folder.path())).unwrap();
    Place { store: Store::open(folder.path().join("store")), model, _folder: folder }
}

impl Place {
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
fn a_model_comes_whole_under_its_quantisation_and_its_hash_is_that_of_the_hub() {
    let place = place();
    let hub = place.hub(Fault::None);
    let (added, retries) = place.pull("hf.co/org/tiny", &hub.settings()).unwrap();
    assert_eq!((added.entry.name.to_string().as_str(), retries), ("org/tiny:Q8_0", 0));
    assert_eq!(fs::read(&added.entry.path).unwrap(), place.model);
    let json = serde_json::to_value(&added.entry.manifest.origin).unwrap();
    assert_eq!(json["commit"], COMMIT);
    assert_eq!(place.store.unfinished_bytes(), 0);
    let seen = hub.seen.lock().unwrap();
    assert!(seen.was_told && !seen.leaked);
    assert_eq!(seen.bytes, place.model.len());
}

#[test]
fn waiting_for_the_store_s_lock_holds_up_nobody_else() {
    let place = place();
    let hub = place.hub(Fault::None);
    fs::create_dir_all(place.store.root()).unwrap();
    let lock = fs::File::options().create(true).append(true).open(place.store.root().join("lock")).unwrap();
    lock.lock().unwrap();
    let (whole, mut came) = (place.model.len() as u64, 0);
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
    let both = async { tokio::join!(place.store.pull(&name, &settings, &mut tell), let_go).0 };
    runtime.block_on(both).unwrap();
}

#[test]
fn pulling_again_downloads_nothing() {
    let place = place();
    let hub = place.hub(Fault::None);
    place.pull("org/tiny", &hub.settings()).unwrap();
    assert!(place.pull("org/tiny:q8_0", &hub.settings()).unwrap().0.was_there);
    assert_eq!(hub.seen.lock().unwrap().bytes, place.model.len());
}

#[test]
fn what_breaks_off_goes_on_where_it_was_and_nothing_comes_twice() {
    let place = place();
    let hub = place.hub(Fault::BreaksOff(3, 20_000));
    let (_, retries) = place.pull("org/tiny", &hub.settings()).unwrap();
    assert_eq!(retries, 3);
    let seen = hub.seen.lock().unwrap();
    assert_eq!(seen.starts, [0, 20_000, 40_000, 60_000]);
    assert_eq!(seen.bytes, place.model.len());
}

#[test]
fn another_process_goes_on_with_what_an_ended_one_has_left() {
    let place = place();
    let hub = place.hub(Fault::BreaksOff(1, 30_000));
    let once = HubSettings { attempts: 1, ..hub.settings() };
    let error = place.pull("org/tiny", &once).unwrap_err();
    assert!(matches!(error, PullError::GaveUp { have: 30_000, .. }), "{error}");
    assert_eq!(place.store.unfinished_bytes(), 30_000);
    place.pull("org/tiny", &once).unwrap();
    assert_eq!(hub.seen.lock().unwrap().bytes, place.model.len());
}

#[test]
fn a_server_that_ignores_where_to_go_on_is_begun_with_again() {
    let place = place();
    let hub = place.hub(Fault::BreaksOffAndIgnoresRange(1, 30_000));
    let (added, _) = place.pull("org/tiny", &hub.settings()).unwrap();
    assert_eq!(fs::read(&added.entry.path).unwrap(), place.model);
    assert_eq!(hub.seen.lock().unwrap().bytes, place.model.len() + 30_000);
}

#[test]
fn a_file_of_another_hash_is_named_deleted_and_never_used() {
    let place = place();
    let (error, _hub) = place.fails(Fault::Lies);
    assert!(matches!(&error, PullError::Hash { file, .. } if file == "tiny-Q8_0.gguf"), "{error}");
    assert_eq!(place.store.unfinished_bytes(), 0);
    let (error, _hub) = place.fails(Fault::IsLonger);
    assert!(matches!(error, PullError::Longer { .. } | PullError::Hash { .. }), "{error}");
}

#[test]
fn a_damaged_rest_of_an_ended_download_is_found() {
    let place = place();
    let partial = place.store.root().join("partial");
    fs::create_dir_all(&partial).unwrap();
    let digest = bantam_store::Digest::of(&place.model);
    fs::write(partial.join(format!("sha256-{digest}")), vec![7; 1_000]).unwrap();
    let (error, hub) = place.fails(Fault::None);
    assert!(matches!(error, PullError::Hash { .. }), "{error}");
    place.pull("org/tiny", &hub.settings()).unwrap();
}

#[test]
fn a_connection_that_stalls_is_given_up_and_said_so() {
    let place = place();
    let hub = place.hub(Fault::Stalls);
    let settings =
        HubSettings { attempts: 2, stall: std::time::Duration::from_millis(100), ..hub.settings() };
    let error = place.pull("org/tiny", &settings).unwrap_err();
    let PullError::GaveUp { have, source, .. } = error else { panic!("{error}") };
    assert!(have >= 100 && source.to_string().contains("sent nothing"), "{source}");
}

#[test]
fn an_overloaded_hub_is_asked_again_and_a_broken_one_is_named() {
    let place = place();
    let hub = place.hub(Fault::Status(2, 503));
    assert_eq!(place.pull("org/tiny", &hub.settings()).unwrap().1, 2);
    let broken = place.hub(Fault::Status(99, 500));
    let error = place.pull("org/tiny@other", &broken.settings()).unwrap_err();
    assert!(error.to_string().contains("500"), "{error}");
}

#[test]
fn gated_and_missing_repositories_and_missing_variants_are_told_apart() {
    let place = place();
    let (error, _hub) = place.fails(Fault::Gated);
    assert!(error.is_refused() && error.hint().contains("HF_TOKEN"), "{error}");
    let hub = place.hub(Fault::None);
    for (name, expected) in
        [("org/none", "no such repository"), ("org/tiny:Q4_0", "tiny-Q8_0.gguf"), ("tiny", "ORG/REPO")]
    {
        let error = place.pull(name, &hub.settings()).unwrap_err();
        assert!(error.is_missing() && error.to_string().contains(expected), "{name}: {error}");
    }
}

#[test]
fn another_architecture_is_refused_before_its_weights_come() {
    let place = place();
    let hub = Hub::of_architecture(&[("tiny-Q8_0.gguf", &place.model)], Fault::None, "mamba");
    let error = place.pull("org/tiny", &hub.settings()).unwrap_err();
    assert!(matches!(&error, PullError::Architecture { found } if found == "mamba"), "{error}");
    let config = br#"{"model_type":"rwkv"}"#;
    let hub = Hub::start(&[("config.json", config), ("model.safetensors", &[0; 4_000])], Fault::None);
    let error = place.pull("org/tiny", &hub.settings()).unwrap_err();
    assert!(matches!(&error, PullError::Architecture { found } if found == "rwkv"), "{error}");
    assert_eq!(hub.seen.lock().unwrap().bytes, config.len());
}

#[test]
fn what_comes_and_is_no_model_does_not_enter() {
    let place = place();
    let hub = Hub::start(&[("tiny-Q8_0.gguf", b"this is no model")], Fault::None);
    let error = place.pull("org/tiny", &hub.settings()).unwrap_err();
    assert!(matches!(error, PullError::Import(_)), "{error}");
    assert!(place.store.list().unwrap().models.is_empty());
}

#[test]
fn nobody_listening_is_an_error_with_a_next_step() {
    let settings =
        HubSettings { endpoint: "http://127.0.0.1:9".to_owned(), attempts: 1, ..HubSettings::public() };
    let error = place().pull("org/tiny", &settings).unwrap_err();
    assert!(error.hint().contains("HF_ENDPOINT"), "{error}");
}

#[test]
fn a_proxy_is_asked_for_https_alone_with_its_own_login_and_without_the_token() {
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
    let error = place().pull("org/tiny", &settings).unwrap_err();
    let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    assert!(cause.contains("407"), "{error}: {cause}");
    let asked = asked.join().unwrap();
    assert!(asked.starts_with("CONNECT hub.invalid:443 HTTP/1.1\r\n"), "{asked}");
    assert!(
        asked.contains("Proxy-Authorization: Basic dXNlcjpwdw==") && !asked.contains("hf_secret"),
        "{asked}"
    );
}

#[test]
fn two_processes_do_not_write_one_download() {
    let place = place();
    let hub = place.hub(Fault::None);
    let partial = place.store.root().join("partial");
    fs::create_dir_all(&partial).unwrap();
    let digest = bantam_store::Digest::of(&place.model);
    let other = fs::File::create(partial.join(format!("sha256-{digest}"))).unwrap();
    other.lock().unwrap();
    let error = place.pull("org/tiny", &hub.settings()).unwrap_err();
    assert!(matches!(error, PullError::Busy { .. }), "{error}");
    assert_eq!(place.store.remove_unfinished().unwrap(), 0);
    drop(other);
    place.pull("org/tiny", &hub.settings()).unwrap();
}
