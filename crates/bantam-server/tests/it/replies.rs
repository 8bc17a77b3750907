//! What a caller reads beside the answer: ids, costs, advice.

use std::time::Duration;

use bantam_types::RequestOutcome;
use serde_json::{Value, json};

use crate::support::{Setup, chat, chat_body, in_time, post, start, stream_body};

#[tokio::test]
async fn an_answer_says_how_it_came_about_twice() {
    let server = start(Setup::default()).await;
    let response = server.ask(&post("x-bantam-task: chat\r\n", &chat_body("hi"))).await;
    assert_eq!(response.header("content-type"), "application/json");
    let note = &response.json()["bantam"];
    assert_eq!(response.json()["choices"][0]["message"]["content"], "one two");
    for (header, expected) in [
        ("x-request-id", note["request_id"].as_str().unwrap()),
        ("x-bantam-task", "chat"),
        ("x-bantam-tier", "mid"),
        ("x-bantam-model", "vendor/mid-model"),
        ("x-bantam-escalated", "no"),
        ("x-bantam-cost-usd", "0.000036"),
        ("x-bantam-confidence", ""),
    ] {
        assert_eq!(response.header(header), expected, "{header}");
    }
    assert_eq!(note["cost_usd"], json!(0.000_036));
    let settled = server.settled(1).await.remove(0);
    assert_eq!(response.header("x-request-id"), format!("req_{:032x}", settled.request_id));
}

#[tokio::test]
async fn a_stream_says_it_before_and_after() {
    let server = start(Setup::default()).await;
    let response = server.ask(&post("", &stream_body("hi"))).await;
    assert_eq!(
        (response.header("content-type"), response.header("cache-control")),
        ("text/event-stream", "no-store")
    );
    assert_eq!((response.header("x-bantam-tier"), response.header("x-bantam-cost-usd")), ("mid", ""));
    let events: Vec<&str> = response.body.trim_end().split("\n\n").collect();
    assert_eq!(*events.last().unwrap(), "data: [DONE]");
    let last: Value = serde_json::from_str(events[events.len() - 2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(last["bantam"]["request_id"], response.header("x-request-id"));
    assert_eq!(last["bantam"]["cost_usd"], json!(0.000_036));
}

#[tokio::test]
async fn an_error_has_an_id_that_the_ledger_knows() {
    let server = start(Setup::default()).await;
    let response = server.chat("I am jane.doe@example.com").await;
    assert_eq!(response.error(), (409, "sensitive_request".to_owned()));
    assert!(response.body.contains("email (1)") && !response.body.contains("jane"), "{response:?}");
    assert_eq!(response.header("x-should-retry"), "false");
    let settled = server.settled(1).await.remove(0);
    assert_eq!(response.header("x-request-id"), format!("req_{:032x}", settled.request_id));
    assert_eq!((settled.outcome, settled.status), (RequestOutcome::Refused, 409));
    // So has one that could not even be read.
    let response = server.ask(&post("", "{")).await;
    let settled = server.settled(2).await.remove(1);
    assert_eq!(response.header("x-request-id"), format!("req_{:032x}", settled.request_id));
    assert_eq!((settled.outcome, settled.status), (RequestOutcome::Refused, 400));
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let server = start(Setup { running_max: 1, waiting_max: 1, ..Setup::default() }).await;
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect().await;
        client.send(&chat("never")).await;
        clients.push(client);
    }
    let refused = in_time(async {
        loop {
            let response = tokio::time::timeout(Duration::from_millis(100), server.chat("hi")).await;
            if let Ok(response) = response {
                return response;
            }
        }
    })
    .await;
    assert_eq!(refused.error(), (429, "queue_full".to_owned()));
    assert_eq!(refused.header("retry-after"), "1");
    drop(clients);
    // Those who left have given their places up.
    let served = in_time(async {
        loop {
            let response = server.chat("hi").await;
            if response.status == 200 {
                return response;
            }
        }
    })
    .await;
    assert_eq!(served.status, 200);
}

#[tokio::test]
async fn an_unknown_task_in_the_header_is_named() {
    let server = start(Setup::default()).await;
    for (task, shown) in [("chatt", "chatt"), ("\u{fffd}", "task"), ("../chat", "../chat")] {
        let response = server.ask(&post(&format!("x-bantam-task: {task}\r\n"), &chat_body("hi"))).await;
        assert_eq!(response.error(), (404, "task_not_found".to_owned()));
        assert!(response.body.contains(shown) && response.body.contains("`chat`"), "{response:?}");
    }
}
