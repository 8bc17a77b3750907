//! Settling, waiting, closing.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bantam_books::block_on;
use bantam_books::{Books, SettleError};
use bantam_ledger::{Acknowledge, Ledger, LedgerOptions, LedgerReader};

use crate::support::{all, new_path, open, request, settlement_of};

#[test]
fn every_field_of_a_settlement_reads_back() {
    let (_folder, path) = new_path();
    let ledger = open(&path);
    for number in 0..500 {
        let _ticket = ledger.settle(&settlement_of(number), None).unwrap();
    }
    ledger.fold().unwrap();
    let expected: Vec<_> = (0..500).map(settlement_of).collect();
    assert_eq!(all(&path), expected);
    let reader = ledger.reader().unwrap();
    assert_eq!(request(&reader, 77), Some(settlement_of(77)));
    assert_eq!(request(&reader, 500), None);
}

#[test]
fn a_reader_sees_a_settlement_soon_without_anybody_asking() {
    let (_folder, path) = new_path();
    let ledger = open(&path);
    let reader = LedgerReader::open(&path).unwrap();
    for number in 0..3 {
        let _ticket = ledger.settle(&settlement_of(number), None).unwrap();
        let settled = Instant::now();
        while request(&reader, number).is_none() {
            assert!(settled.elapsed() < Duration::from_secs(20), "never folded");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[test]
fn a_ticket_is_ready_at_once_when_only_the_process_may_crash() {
    let (_folder, path) = new_path();
    let ledger = open(&path);
    let ticket = ledger.settle(&settlement_of(1), None).unwrap();
    let poll = pin!(ticket).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(poll, Poll::Ready(Ok(()))));
}

#[test]
fn tickets_of_many_threads_are_answered_when_the_disk_has_them() {
    let (_folder, path) = new_path();
    let ledger = Arc::new(Ledger::open(&path, LedgerOptions::new(Acknowledge::PowerLoss)).unwrap());
    let threads: Vec<_> = (0..8_u128)
        .map(|thread| {
            let ledger = Arc::clone(&ledger);
            std::thread::spawn(move || {
                for number in 0..50 {
                    let ticket = ledger.settle(&settlement_of(thread << 64 | number), None).unwrap();
                    match number % 3 {
                        0 => ticket.wait().unwrap(),
                        1 => block_on(ticket).unwrap(),
                        // A caller that leaves: polled once, then dropped.
                        _ => {
                            let _ = pin!(ticket).poll(&mut Context::from_waker(Waker::noop()));
                        }
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    ledger.close().unwrap();
    assert_eq!(all(&path).len(), 400);
}

#[test]
fn a_ticket_that_outlives_its_ledger_is_answered() {
    let (_folder, path) = new_path();
    let ledger = Ledger::open(&path, LedgerOptions::new(Acknowledge::PowerLoss)).unwrap();
    let tickets: Vec<_> =
        (0..20).map(|number| ledger.settle(&settlement_of(number), None).unwrap()).collect();
    drop(ledger);
    for ticket in tickets {
        block_on(ticket).unwrap();
    }
}

#[test]
fn a_closed_ledger_refuses_and_closing_again_does_nothing() {
    let (_folder, path) = new_path();
    let ledger = open(&path);
    let _ticket = ledger.settle(&settlement_of(1), None).unwrap();
    ledger.close().unwrap();
    assert!(matches!(ledger.settle(&settlement_of(2), None), Err(SettleError::Closed)));
    assert!(!ledger.is_writable());
    ledger.close().unwrap();
    ledger.fold().unwrap();
    assert_eq!(all(&path), [settlement_of(1)]);
    let left = std::fs::read_dir(path.with_added_extension("journal")).unwrap().count();
    assert_eq!(left, 0, "a journal segment is left");
}

#[test]
fn a_request_id_that_is_given_out_twice_is_counted() {
    let (_folder, path) = new_path();
    let ledger = open(&path);
    let _ticket = ledger.settle(&settlement_of(1), None).unwrap();
    let _ticket = ledger.settle(&settlement_of(1), None).unwrap();
    ledger.fold().unwrap();
    let health = ledger.health();
    assert_eq!((health.settlements, health.duplicates, health.writable), (1, 1, true));
}

#[test]
fn a_small_backlog_refuses_before_writing_and_works_again_after_a_fold() {
    let (_folder, path) = new_path();
    let options = LedgerOptions {
        backlog_bytes_max: 2000,
        fold_interval: Duration::from_secs(60),
        ..LedgerOptions::new(Acknowledge::ProcessCrash)
    };
    let ledger = Ledger::open(&path, options).unwrap();
    let mut settled = 0;
    let error = loop {
        match ledger.settle(&settlement_of(settled), None) {
            Ok(_ticket) => settled += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SettleError::Behind { backlog_bytes } if backlog_bytes <= 2000));
    assert!(!ledger.is_writable() && !ledger.health().writable);
    ledger.fold().unwrap();
    assert_eq!(ledger.pressure().backlog_bytes, 0);
    assert!(ledger.is_writable());
    let _ticket = ledger.settle(&settlement_of(settled), None).unwrap();
    ledger.close().unwrap();
    assert_eq!(all(&path).len() as u128, settled + 1);
}
