use crate::world::World;

#[track_caller]
fn check(text: &str, message: &str) {
    let shown = World::of_example().bad(text);
    assert!(shown.contains(message), "{shown}");
}

const UPSTREAM: &str = "[upstreams.u]\ndialect = 'openai'\nbase_url = 'https://api.example.com/v1'\n";

fn upstream(rest: &str) -> String {
    format!("{UPSTREAM}{rest}")
}

fn model(rest: &str) -> String {
    format!("{UPSTREAM}[models.m]\nupstream = 'u'\n{rest}")
}

fn task(rest: &str) -> String {
    format!(
        "{UPSTREAM}[models.m]\nupstream = 'u'\ntier = 'mid'\n[routing]\nladder = ['m']\n[tasks.t]\n{rest}"
    )
}

#[test]
fn every_mistake_is_reported_at_once_with_its_place_and_a_next_step() {
    let text = "\
[server]
bnid = \"127.0.0.1:5454\"
bind = \"localhost:5454\"
threads = \"four\"
json_depth_max = 0

[ledger]
acknowledge = \"process_crash\"

[upstreams.openai]
dialect = \"open-ai\"
base_url = \"https://api.openai.com/v1\"
api_key_env = \"OPENAI_KEY\"
ca_file = \"missing.pem\"
total_timeout_ms = 1000
first_byte_timeout_ms = 2000

[models.gpt]
upstream = \"opnai\"
tier = \"frontier\"
price = { input = 1.25, output = 10.0, as_of = \"2026-02-30\" }

[models.auto]
upstream = \"openai\"

[routing]
ladder = [\"gtp\", \"gpt\", \"gpt\"]

[tasks.intent]
kind = \"classify\"
labels = [\"one\"]
student = \"nowhere.student\"

[colours]
";
    insta::assert_snapshot!(World::default().bad(text));
}

#[test]
fn syntax_errors_come_together_with_the_rest_but_without_echoes() {
    let text = "[server]\nbind = \nthreads = 5000\ncolour = 1\n[models.m\nupstream = 'u'\n[routing]\nladder = ['m']\n";
    insta::assert_snapshot!(World::default().bad(text));
}

#[test]
fn refuses_an_open_door() {
    check("[server]\nbind = '0.0.0.0:5454'", "opens 0.0.0.0 to other machines");
    check("[server]\nbind = '[::]:5454'", "opens :: to other machines");
    check("[server]\nbind = '192.168.1.2:1'", "to other machines");
    check("[server]\nallowed_hosts = ['*']", "holds no host");
    check("[server]\nallowed_origins = ['*']", "holds no origin");
    let world = World::default().env("KEY", &"k".repeat(32));
    world.good("[server]\nbind = '0.0.0.0:5454'\napi_key_envs = ['KEY']");
    world.good("[server]\nbind = '[::1]:5454'");
}

#[test]
fn refuses_limits_that_are_none() {
    check("[server]\nconcurrent_requests_max = 0", "out of range: 0\n");
    check("[server]\nheader_timeout_ms = 0", "allowed: 1 to 3600000");
    check("[server]\nbody_bytes_max = -1", "out of range: -1");
    check("[server]\nbody_bytes_max = 99999999999999999999999", "out of range");
    check("[server]\njson_depth_max = 64.0", "must be a whole number, not a number");
    check(&upstream("concurrent_requests_max = 0"), "out of range: 0");
    check(&upstream("retries_max = 99"), "allowed: 0 to 10");
}

#[test]
fn a_default_limit_shrinks_to_the_total_but_a_set_one_has_to_fit() {
    let config = World::default().good(&upstream("total_timeout_ms = 1500"));
    assert_eq!(config.upstreams["u"].first_byte_timeout.as_millis(), 1500);
    check(&upstream("total_timeout_ms = 1500\nchunk_timeout_ms = 1501"), "longer than `total_timeout_ms`");
}

#[test]
fn refuses_upstreams_that_leak_or_cannot_be_reached() {
    let base =
        |url: &str, rest: &str| format!("[upstreams.u]\ndialect = 'openai'\nbase_url = '{url}'\n{rest}");
    check(&base("http://api.example.com/v1", ""), "in clear text");
    World::default().good(&base("http://api.example.com/v1", "allow_plain_http = true"));
    World::default().good(&base("http://10.0.0.1/v1", ""));
    check(&base("ftp://x/v1", ""), "has the scheme `ftp`");
    check(&base("https://x/v1?key=1", ""), "holds a query");
    check(&base("https://x/v1/chat/completions", ""), "ends with a part of `path`");
    check("[upstreams.u]\ndialect = 'anthropic'\nbase_url = 'https://x/v1'", "ends with a part of `path`");
    check(&base("https://x/v1", "path = 'chat'"), "must begin with one `/`");
    check(&base("https://x/v1", "auth = 'bearer'"), "sends a key, but none is named");
    check(&base("https://x/v1", "auth = 'none'\napi_key_env = 'OPENAI_API_KEY'"), "remove one of the two");
    check(&base("http://10.0.0.1/v1", "ca_file = 'corporate-root.pem'"), "plain http");
    check("[upstreams.'U p']\ndialect = 'openai'\nbase_url = 'https://x'", "`upstreams.\"U p\"` has a name");
}

#[test]
fn a_cloud_model_of_ollama_is_never_local() {
    for kind in ["ollama", "auto"] {
        let with = |name: &str, rest: &str| {
            format!(
                "[upstreams.u]\nkind = '{kind}'\nbase_url = 'http://127.0.0.1:11434/v1'\n\
                 [models.m]\nupstream = 'u'\nname = '{name}'\n{rest}"
            )
        };
        for name in ["gpt-oss:120b-cloud", "glm-4.6:cloud"] {
            check(&with(name, ""), "`models.m` needs the key `tier`");
            check(&with(name, "tier = 'local'"), "one of Ollama's cloud models");
            World::default().good(&with(name, "tier = 'frontier'"));
        }
        World::default().good(&with("my-cloud:7b", ""));
    }
}

#[test]
fn an_engine_on_this_machine_is_local_and_needs_no_more_than_its_kind() {
    let with = |kind: &str, rest: &str| {
        format!("[upstreams.u]\nkind = '{kind}'\n{rest}[models.m]\nupstream = 'u'\n")
    };
    for (kind, url) in [
        ("ollama", "http://127.0.0.1:11434/v1"),
        ("llama-server", "http://127.0.0.1:8080/v1"),
        ("vllm", "http://127.0.0.1:8000/v1"),
    ] {
        let config = World::default().good(&with(kind, ""));
        assert_eq!((config.models["m"].tier.as_str(), &*config.upstreams["u"].base_url), ("local", url));
    }
    check(&with("auto", ""), "needs the key `base_url`");
    check(&with("olama", ""), "did you mean \"ollama\"?");
    check(&with("ollama", "dialect = 'anthropic'\n"), "speaks OpenAI's API");
    // Another machine's engine is local only if somebody says so.
    check(&with("ollama", "base_url = 'http://10.0.0.5:11434/v1'\n"), "needs the key `tier`");
    check(
        &(with("ollama", "base_url = 'https://gpu.example/v1'\n") + "tier = 'local'\n"),
        "not recognisably private",
    );
}

#[test]
fn refuses_limits_of_the_ledger_that_cannot_be_kept() {
    check("[ledger]\nkeep_days = 0", "allowed: 1 to 36500");
    check("[ledger]\nkeep_days = '400'", "must be a whole number");
    check("[ledger]\nkeep_size = '20'", "is not an amount of disk space");
    check("[ledger]\nkeep_size = 20_000_000_000", "must be a string, not a whole number");
    check("[ledger]\nkeep_prompt_previews = 'yes'", "must be `true` or `false`");
    check(
        "[ledger]\nkeep_prompts = true",
        "known here: path, acknowledge, keep_days, keep_size, keep_prompt_previews",
    );
    let ledger = World::default()
        .env("BANTAM_LEDGER_KEEP_DAYS", "400")
        .env("BANTAM_LEDGER_KEEP_SIZE", "20 GiB")
        .flag("ledger.keep_prompt_previews", "true")
        .good("")
        .ledger;
    assert_eq!((ledger.keep_days, ledger.keep_bytes), (Some(400), Some(20 << 30)));
    assert!(ledger.keep_prompt_previews);
    let ledger = World::default().good("").ledger;
    assert_eq!((ledger.keep_days, ledger.keep_bytes, ledger.keep_prompt_previews), (None, None, false));
}

#[test]
fn refuses_amounts_of_memory_and_times_that_cannot_be_read() {
    check("[local]\nmemory = '8'", "is not an amount of memory");
    check("[local]\nmemory = 8", "must be a string, not a whole number");
    check("[local]\nkeep_alive = '5 minutes'", "is not a length of time");
    let file = "[models.m]\nfile = 'models/desk-0.6b-q8_0.gguf'\n";
    check(&format!("{file}keep_alive = 'never'"), "is not a length of time");
    check(&format!("{file}adapter = 'missing'"), "names a file that is not there");
    check(&format!("{file}preload = 'yes'"), "must be `true` or `false`");
}

#[test]
fn the_local_tier_needs_a_host_that_is_private_or_trusted() {
    check(&model("tier = 'local'"), "is `local`, which sees every label");
    let trusted = format!(
        "{}[upstreams.v]\ndialect='openai'\nbase_url='https://gpu.lan'\ntrusted=true\n[models.n]\nupstream='v'\ntier='local'",
        ""
    );
    World::default().good(&trusted);
}

#[test]
fn refuses_models_that_cannot_be_called_or_priced() {
    for (name, message) in [
        ("auto", "stands for"),
        ("student", "ladders"),
        ("'task/x'", "calls a task"),
        ("'a b'", "cannot say"),
    ] {
        check(&format!("{UPSTREAM}[models.{name}]\nupstream='u'\ntier='mid'"), message);
    }
    let price = |text: &str| model(&format!("tier = 'mid'\nprice = {{ {text} }}"));
    check(&price("input = 1, output = 2"), "needs the key `as_of`");
    check(&price("input = 1, output = 2, as_of = '2026-02-29'"), "is not a day");
    check(&price("input = -1, output = 2, as_of = '2026-02-28'"), "is not a price: -1");
    check(&price("input = 0.0000001, output = 2, as_of = '2026-02-28'"), "six decimals");
    check(&price("input = 1, cached_input = 2, output = 2, as_of = '2026-02-28'"), "dearer than `input`");
    let rates = |text: &str| price(&format!("input = 1, output = 2, as_of = '2026-02-28', rates = [{text}]"));
    check(&rates("{ input = 2, output = 3 }"), "says again what the price itself says");
    check(&rates("{ above = 9, output = 3 }"), "needs the key `input`");
    check(&rates("{ above = 9, input = 1, cached_input = 2, output = 3 }"), "dearer than `input`");
    check(&rates("{ service = 'slow', input = 2, output = 3 }"), "allowed: standard, batch, flex, priority");
    check(&rates("{ service = 'flexx', input = 2, output = 3 }"), "did you mean \"flex\"?");
    check(&rates("{ service = 'flex', above = 9, input = 2, output = 3 }"), "for long prompts alone");
    let twice = "{ above = 9, input = 2, output = 3 }, { above = 9, input = 2, output = 3 }";
    check(&rates(twice), "rates twice for standard prompts above 9 tokens");
    check(&price("input = 1, output = 2, as_of = '2026-02-28', request_fee = 1001"), "is not a fee: 1001");
    let config = World::default().good(&price("input = 1, output = 2, as_of = 2026-02-28"));
    let price = config.models["m"].price.as_ref().unwrap();
    let rates = price.standard.base;
    assert_eq!((rates.cached_input, price.as_of.as_str()), (rates.input, "2026-02-28"));
    assert_eq!((rates.cache_write, rates.cache_write_long), (None, None));
}

#[test]
fn anthropics_multiples_for_writing_to_the_cache_are_defaults_where_they_are_exact() {
    let config = |price: &str| {
        World::default().good(&format!(
            "[upstreams.u]\ndialect = 'anthropic'\nbase_url = 'https://x'\n\
             [models.m]\nupstream = 'u'\ntier = 'mid'\nprice = {{ {price}, as_of = '2026-02-28' }}"
        ))
    };
    let writes = |price: &str| {
        let rates = config(price).models["m"].price.as_ref().unwrap().standard.base;
        [rates.cache_write, rates.cache_write_long].map(|rate| rate.map(bantam_types::UsdPerMillion::micros))
    };
    assert_eq!(writes("input = 3, output = 15"), [Some(3_750_000), Some(6_000_000)]);
    assert_eq!(writes("input = 0.000001, output = 15"), [None, Some(2)]);
    assert_eq!(writes("input = 3, cache_write = 4, output = 15"), [Some(4_000_000), Some(6_000_000)]);
    let shown =
        config("input = 3, output = 15, rates = [{ above = 9, input = 6, output = 22.5 }]").render(true);
    assert!(shown.contains("models.m.price.cache_write = 3.75"), "{shown}");
    let further = "{ above = 9, input = 6.0, cached_input = 6.0, cache_write = 7.5, cache_write_long = 12.0, output = 22.5 }";
    assert!(shown.contains(further), "{shown}");
}

#[test]
fn refuses_tasks_whose_settings_contradict_each_other() {
    check(&task("kind = 'classify'"), "has no labels");
    check(&task("kind = 'classify'\nlabels = ['a']"), "leaves no choice");
    check(&task("kind = 'classify'\nlabels = ['a', 'a']"), "names \"a\" twice");
    check(&task("kind = 'classify'\nlabels = ['a', ' ']"), "is empty");
    check(&task("kind = 'extract'\nlabels = ['a', 'b']"), "is for `classify` tasks");
    check(&task("kind = 'extract'\nanswer_key = 'a'"), "is for `classify` tasks");
    check(&task("kind = 'clasify'"), "did you mean \"classify\"?");
    check(&task("kind = 'extract'\nuncertified_threshold = 0.5"), "without allow_uncertified");
    check(&task("kind = 'extract'\nallow_uncertified = true"), "without a student");
    check(
        &task(
            "kind = 'extract'\nstudent = 'intent.student'\nallow_uncertified = true\nuncertified_threshold = 0",
        ),
        "is 0",
    );
    check(&task("kind = 'extract'\ncertificate = 'intent.certificate.json'"), "without a student");
    check(&task("kind = 'extract'\nbase = 'all-MiniLM-L6-v2'"), "without a student");
    check(&task("kind = 'extract'\naudit_share = 0.6"), "allowed: 0 to 0.5");
    check(&task("kind = 'extract'\naudit_share = 0.1"), "audits a student");
    check(&task("kind = 'extract'\naudit_share = nan"), "out of range");
    check(&task("kind = 'extract'\ntemplates = ['0123']"), "no fingerprint");
    check(&task("kind = 'extract'\ntemplates = ['+123456789abcdef']"), "no fingerprint");
    check(&task("kind = 'extract'\nladder = []"), "has nobody to ask");
    check("[tasks.t]\nkind = 'extract'", "has nobody to ask");
    check(&task("kind = 'extract'\nladder = ['student', 'm']"), "but the task has none");
    check(&task("kind = 'extract'\nladder = ['m', 'm']"), "names \"m\" twice");
    check(&task("kind = 'extract'\nladder = ['m', 'student']\nstudent = 'intent.student'"), "goes down");
    check(
        &task("kind = 'extract'\nladder = ['student']\nstudent = 'intent.student'\nrecord = true"),
        "needs a model above",
    );
    check(&task("kind = 'extract'\nminimum_label = 'restricted'"), "no rung of the task may see");
    check(&task("kind = 'extract'\nschema = 'ticket.schema.json'"), "without a language model as student");
    check(&task("kind = 'embed'\nstudent = 'intent.student'\nladder = ['student']"), "students do not embed");
    check(&task("kind = 'extract'\nstudent_model = 'm'"), "names a model of an upstream");
    check(&task("kind = 'extract'\nstudent_model = 'x'"), "which is not a model");
    let local = |task: &str| format!("{task}\n[models.local]\nfile = 'local.gguf'");
    check(&local(&task("kind = 'extract'\nstudent_model = 'local'")), "has no schema, regex or grammar");
    let form = |text: &str| local(&task(&format!("student_model = 'local'\n{text}")));
    check(&task("kind = 'extract'\nregex = 'a+'"), "without a language model as student");
    check(&task("kind = 'extract'\ngrammar = 'ticket.lark'"), "without a language model as student");
    check(&form("kind = 'extract'\nregex = ' '"), "is empty");
    check(&form(&format!("kind = 'extract'\nregex = '{}'", "a".repeat(5_000))), "longer than 4096 bytes");
    check(&form("kind = 'extract'\nregex = ['a']"), "`tasks.t.regex`");
    check(&form("kind = 'extract'\ngrammar = 'nowhere.lark'"), "names a file that is not there");
    let both = form("kind = 'extract'\nregex = 'a+'\ngrammar = 'ticket.lark'");
    check(&both, "`tasks.t.grammar` says anew what answers look like, beside `regex`");
    let both = form("kind = 'rewrite'\nregex = 'a+'\nschema = 'ticket.schema.json'");
    check(&both, "`tasks.t.regex` says anew what answers look like, beside `schema`");
    check(&form("kind = 'classify'\nlabels = ['a', 'b']\nregex = 'a|b'"), "its answers are its labels");
    check(
        &local(&task("kind = 'extract'\nstudent_model = 'local'\nschema = 'nowhere.json'")),
        "names a file that is not there",
    );
    check(
        &local(&task("kind = 'generate'\nstudent_model = 'local'\nstudent = 'intent.student'")),
        "names a second student",
    );
    check(
        &local(&task(
            "kind = 'classify'\nlabels = ['a', 'b']\nstudent_model = 'local'\nschema = 'ticket.schema.json'",
        )),
        "its answers are its labels",
    );
    check(&task("kind = 'extract'").replace("tasks.t", "tasks.T"), "`tasks.T` has a name");
}

#[test]
fn a_prompt_belongs_to_one_task() {
    let text = task("kind = 'extract'\ntemplates = ['0123456789abcdef']")
        + "\n[tasks.u]\nkind = 'extract'\ntemplates = ['0123456789abcdef']";
    check(&text, "which `tasks.t` has already");
}

#[test]
fn refuses_a_dictionary_that_labels_everything_or_nothing() {
    let term = |text: &str| format!("[[privacy.dictionary]]\n{text}");
    check(&term("label = 'restricted'"), "needs the key `term`");
    check(&term("term = ' '"), "is empty");
    check(&term("term = 'x'"), "single character");
    check(&term("term = 'Falcon'\nlabel = 'public'"), "every request is at least that");
    check(&term("term = 'Falcon'\n[[privacy.dictionary]]\nterm = 'FALCON'"), "twice");
    check(&term("term = 'Falcon'\nlable = 'internal'"), "unknown key `privacy.dictionary.lable`");
    check("[privacy]\nlocal = 'internal'", "the local tier may always see every label");
}

#[test]
fn a_wrong_type_is_named_with_the_one_it_has() {
    check("server = 3", "`server` must be a table, not a whole number");
    check("models = []", "`models` must be a table, not a list");
    check("[models]\nm = 3", "`models.m` must be a table");
    check("[server]\nallowed_hosts = 'a'", "`server.allowed_hosts` must be a list, not a string");
    check("[server]\nallowed_hosts = [1]", "must be a string, not a whole number");
    check("[privacy]\ndictionary = ['a']", "must be a table, not a string");
    check("[server]\nbind = 5454", "`server.bind` must be a string, not a whole number");
    check(&upstream("trusted = 'yes'"), "must be `true` or `false`, not a string");
}
