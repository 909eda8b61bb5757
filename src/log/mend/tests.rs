//! What is kept of a damaged log, and what is lost.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;

const AT: &str = "2026-01-31T12:00:00.000000Z";

fn event(seq: u64) -> Vec<u8> {
    let mut line = Vec::new();
    let (key, value) = (format!("key{seq}"), "1".to_owned());
    let fact = Fact::KeySet { key, value, created: true };
    let event = Event { seq, at: Timestamp(0), uid: 0, fact };
    write_line(&mut line, |out| event.encode(AT.as_bytes(), out));
    line
}

/// A segment whose frames end with these events, and where each begins.
fn segment(ends: &[u64]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut places, mut prev) = (Vec::new(), Vec::new(), 0);
    for last in ends {
        places.push(bytes.len());
        let lines: Vec<u8> = (prev + 1..=*last).flat_map(event).collect();
        let (v, first, last) = (VERSION, prev + 1, *last);
        Header { v, first, last, prev, synced: prev, bytes: lines.len() as u64 }.write(&mut bytes);
        bytes.extend_from_slice(&lines);
        prev = last;
    }
    (bytes, places)
}

fn around(until: Option<u64>) -> Around<'static> {
    Around { last: 0, until, known: 0, at: AT.as_bytes().to_vec(), uid: 7, was_there: EVERYTHING }
}

/// Mends; what comes out is whole, and has every seq once. What is lost, and the last seq.
fn mended(bytes: &[u8], around: Around<'_>) -> (Vec<(u64, u64)>, u64) {
    let done = mend(bytes, around.clone()).expect("our version");
    let out = done.bytes.unwrap_or_else(|| bytes.to_vec());
    let again = mend(&out, around).expect("our version");
    assert!(again.bytes.is_none() && again.lost.is_empty(), "what was mended is whole");
    let seqs: Vec<u64> = out.split(|byte| *byte == b'\n').filter_map(check_line).filter_map(seq_of).collect();
    assert_eq!(seqs, (1..=done.last).collect::<Vec<u64>>());
    (done.lost, done.last)
}

#[test]
fn a_whole_segment_is_left_as_it_is_with_its_room_and_with_a_torn_end() {
    let (mut bytes, places) = segment(&[1, 3, 5]);
    assert!(mend(&bytes, around(Some(5))).expect("ours").bytes.is_none());
    let torn = mend(&bytes[..bytes.len() - 9], around(None)).expect("ours");
    assert!(torn.bytes.is_none() && torn.last == 3);
    bytes.resize(bytes.len() + 4096, 0);
    assert!(mend(&bytes, around(None)).expect("ours").bytes.is_none());
    let cut = mend(&bytes, around(Some(5))).expect("ours").bytes.expect("zeros go from a sealed one");
    assert_eq!(cut.len(), segment(&[1, 3, 5]).0.len());
    assert_eq!(places.len(), 3);
}

#[test]
fn a_damaged_record_is_lost_alone() {
    let (mut bytes, places) = segment(&[1, 4, 5]);
    let middle = places[1] + (places[2] - places[1]) / 2;
    bytes[middle] ^= 1;
    let lost = mended(&bytes, around(Some(5)));
    assert_eq!(lost, (vec![(3, 3)], 5));
}

#[test]
fn a_header_that_says_more_is_missing_than_there_could_be_is_damage_itself() {
    let (mut bytes, places) = segment(&[2, 4]);
    bytes[places[1] + 3] ^= 1;
    let far = 1 << 40;
    let header = Header { v: VERSION, first: far + 1, last: far + 1, prev: far, synced: far, bytes: 0 };
    header.write(&mut bytes);
    let (lost, last) = mended(&bytes, around(None));
    // As many seqs are given up as its own bytes could have held.
    assert_eq!((lost, last), (vec![(5, 5)], 5));
    // The same where the frame itself says so.
    bytes.truncate(places[1]);
    Header { v: VERSION, first: 3, last: far, prev: 2, synced: 2, bytes: 9000 }.write(&mut bytes);
    bytes.extend_from_slice(&event(3));
    bytes.extend_from_slice(b"more\n");
    let (_, last) = mended(&bytes, Around { known: 3, ..around(None) });
    assert!((3..10).contains(&last), "{last}");
}

#[test]
fn a_damaged_header_loses_nothing_where_the_next_one_is_good() {
    let (mut bytes, places) = segment(&[1, 4, 5]);
    bytes[places[1] + 20] ^= 1;
    assert_eq!(mended(&bytes, around(Some(5))), (vec![], 5));
    let done = mend(&bytes, around(Some(5))).expect("ours");
    assert_eq!(done.aside.len(), 1);
    assert_eq!((done.aside[0].offset, done.aside[0].bytes.len()), (places[1] as u64, places[2] - places[1]));
}

#[test]
fn at_the_very_end_no_seq_that_was_given_is_given_again() {
    let (bytes, places) = segment(&[1, 4, 6]);
    for place in places[2]..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[place] ^= 1;
        let (lost, last) = mended(&bytes, around(None));
        assert!((6..=7).contains(&last), "{place}: {lost:?}, {last}");
    }
    let known = Around { known: 9, ..around(None) };
    assert_eq!(mended(&bytes, known), (vec![(7, 9)], 9));
}

#[test]
fn at_the_very_end_as_many_seqs_are_given_up_as_the_damaged_bytes_could_have_held() {
    let (mut bytes, _) = segment(&[1]);
    let place = bytes.len();
    Header { v: VERSION, first: 2, last: 4, prev: 1, synced: 1, bytes: 0 }.write(&mut bytes);
    bytes[place + 20] ^= 1;
    bytes.extend_from_slice(&event(2));
    bytes.extend_from_slice(&event(4));
    // With its line feed one byte short of three times the shortest line.
    bytes.resize(bytes.len() + 3 * LINE_BYTES_MIN - 2, b'x');
    bytes.push(b'\n');
    assert_eq!(mended(&bytes, around(None)), (vec![(3, 3), (5, 6)], 6));
}

#[test]
fn a_frame_that_is_damaged_up_to_the_next_header_takes_no_good_record_behind_it_along() {
    let (bytes, places) = segment(&[1, 3, 503]);
    let mut damaged = bytes.clone();
    damaged[places[2] - 35..places[2] + 35].fill(b'#');
    for until in [None, Some(503)] {
        assert_eq!(mended(&damaged, around(until)), (vec![(3, 3)], 503), "{until:?}");
    }
    damaged[places[1] + 20] ^= 1;
    assert_eq!(mended(&damaged, around(None)), (vec![(3, 3)], 503), "without its own header");
}

/// The lines of the good records.
fn records(bytes: &[u8]) -> Vec<&[u8]> {
    let is_good = |line: &&[u8]| check_line(line).is_some_and(|json| seq_of(json).is_some());
    bytes.split(|byte| *byte == b'\n').filter(is_good).collect()
}

proptest! {
    #[test]
    fn wherever_the_damage_is_every_good_record_is_kept_and_no_seq_is_given_again(
        sizes in vec(1..5_u64, 1..7),
        damage in vec((any::<Index>(), vec(prop::sample::select(b"#\n".to_vec()), 1..150)), 1..4),
    ) {
        let ends: Vec<u64> = sizes.iter().scan(0, |end, size| { *end += size; Some(*end) }).collect();
        let last = ends[ends.len() - 1];
        let (mut bytes, _) = segment(&ends);
        // Without its last byte it would be torn.
        let end = bytes.len() - 1;
        for (place, with) in damage {
            bytes[..end][place.index(end)..].iter_mut().zip(with).for_each(|(byte, other)| *byte = other);
        }
        for until in [None, Some(last)] {
            let done = mend(&bytes, around(until)).expect("our version");
            let kept = records(done.bytes.as_deref().unwrap_or(&bytes));
            prop_assert!(records(&bytes).iter().all(|line| kept.contains(line)));
            prop_assert!(done.last >= last && until.is_none_or(|until| done.last == until));
            mended(&bytes, around(until));
        }
    }
}

#[test]
fn at_the_very_end_a_good_header_says_how_many_seqs_are_lost() {
    let (mut bytes, places) = segment(&[1, 4, 30]);
    let lines = memchr::memchr(b'\n', &bytes[places[2]..]).expect("a header") + places[2] + 1;
    bytes[lines..].iter_mut().filter(|byte| **byte == b'k').for_each(|byte| *byte = b'q');
    assert_eq!(mended(&bytes, around(None)), (vec![(5, 30)], 30));
}

#[test]
fn no_more_is_missing_than_could_have_been_in_the_damaged_bytes_and_some() {
    let (bytes, _) = segment(&[2]);
    let with_frame_up_to = |last: u64| {
        let mut bytes = bytes.clone();
        Header { v: VERSION, first: 3, last, prev: 2, synced: 2, bytes: 500 }.write(&mut bytes);
        bytes.extend_from_slice(&[b'x'; 499]);
        bytes.push(b'\n');
        bytes
    };
    let frame = (with_frame_up_to(70_000).len() - bytes.len()) as u64;
    let most = 2 + frame / LINE_BYTES_MIN as u64 + MISSING_MOST;
    assert_eq!(mend(&with_frame_up_to(most), around(None)).expect("ours").last, most);
    let lines = 500 / LINE_BYTES_MIN as u64;
    assert_eq!(mend(&with_frame_up_to(most + 1), around(None)).expect("ours").last, 2 + lines);
}

#[test]
fn a_good_frame_is_found_behind_blocks_that_were_lost() {
    let (mut bytes, places) = segment(&[1, 2, 3]);
    bytes[places[2] - 20] ^= 1;
    bytes.splice(places[2]..places[2], vec![0; 300]);
    assert_eq!(mended(&bytes, around(Some(3))), (vec![(2, 2)], 3));
}

#[test]
fn a_segment_without_records_ends_where_the_one_before_it_did() {
    let before = Around { last: 5, known: 5, at: b"earlier".to_vec(), ..around(None) };
    let done = mend(b"", before).expect("ours");
    assert_eq!((done.last, done.at.as_slice(), done.bytes), (5, b"earlier".as_slice(), None));
}

#[test]
fn no_frame_goes_up_to_the_largest_number_there_is() {
    let sane = |first, last| Header { v: VERSION, first, last, prev: 0, synced: 0, bytes: 0 }.is_sane();
    assert!(sane(3, 3) && sane(3, u64::MAX - 1));
    assert!(!sane(4, 3) && !sane(3, u64::MAX));
}

#[test]
fn a_frame_that_begins_with_an_event_before_it_is_damage() {
    let (mut bytes, _) = segment(&[1]);
    let lines: Vec<u8> = (1..=2).flat_map(event).collect();
    Header { v: VERSION, first: 1, last: 2, prev: 1, synced: 0, bytes: lines.len() as u64 }.write(&mut bytes);
    bytes.extend_from_slice(&lines);
    assert_eq!(mended(&bytes, around(Some(2))), (vec![], 2));
    assert_eq!(mend(&bytes, around(Some(2))).expect("ours").aside.len(), 1);
}

#[test]
fn events_that_are_missing_before_the_next_segment_are_lost() {
    let (bytes, places) = segment(&[1, 4, 6]);
    assert_eq!(mended(&bytes, around(Some(9000))), (vec![(7, 9000)], 9000));
    assert_eq!(mended(&[], around(Some(2))), (vec![(1, 2)], 2));
    assert_eq!(mended(&bytes[..places[2]], around(Some(6))), (vec![(5, 6)], 6));
    let hole = [&bytes[..places[1]], &vec![0; places[2] - places[1]], &bytes[places[2]..]].concat();
    assert_eq!(mended(&hole, around(Some(6))), (vec![(2, 4)], 6));
}

#[test]
fn events_that_are_missing_at_the_end_are_left_to_further_segments_where_one_has_no_room() {
    let (bytes, _) = segment(&[1, 4, 6]);
    let (mut done, mut last, mut segments) = (mend_within(&bytes, around(Some(50_000)), 1), 6, 0);
    assert_eq!(done.as_ref().map(|done| (done.last, done.bytes.is_none())), Ok((6, true)));
    while last < 50_000 {
        done = mend_within(&[], Around { last, ..around(Some(50_000)) }, 1 << 20);
        let done = done.as_ref().expect("ours");
        assert_eq!(done.lost, [(last + 1, done.last)]);
        assert!(done.bytes.as_ref().is_some_and(|bytes| bytes.len() < 2 << 20));
        (last, segments) = (done.last, segments + 1);
    }
    assert!(last == 50_000 && segments > 3, "{last} {segments}");
}

#[test]
fn a_torn_end_behind_damage_is_set_aside_with_it() {
    // It looks torn where it is, for the empty block of 512 bytes; elsewhere it may not.
    let (mut bytes, places) = segment(&[1, 2, 3]);
    bytes[places[0] + 20] ^= 1;
    let end = bytes.len();
    bytes.resize(end.next_multiple_of(512) + 512, 0);
    bytes.push(b'\n');
    let done = mend(&bytes, around(None)).expect("ours");
    assert_eq!(done.aside.len(), 2, "{:?}", done.aside);
    assert_eq!(done.aside[1].offset, end as u64);
    assert_eq!(mended(&bytes, around(None)), (vec![], 3));
}

#[test]
fn a_frame_whose_header_does_not_cover_its_events_is_damage_here_as_at_a_start() {
    let lines: Vec<u8> = (1..=2).flat_map(event).collect();
    let mut bytes = Vec::new();
    Header { v: VERSION, first: 2, last: 2, prev: 0, synced: 0, bytes: lines.len() as u64 }.write(&mut bytes);
    bytes.extend_from_slice(&lines);
    assert_eq!(mended(&bytes, around(Some(2))), (vec![], 2));
    assert_eq!(mend(&bytes, around(Some(2))).expect("ours").aside.len(), 1);
}

#[test]
fn what_was_compacted_away_is_not_lost() {
    let (mut bytes, places) = segment(&[1, 40, 41]);
    let middle = places[1] + (places[2] - places[1]) / 2;
    bytes[middle] ^= 1;
    let done = mend(&bytes, Around { was_there: &|seq| seq < 2, ..around(Some(60)) }).expect("ours");
    assert!(done.lost.is_empty() && done.last == 60, "{:?}", done.lost);
    let done = mend(&bytes, Around { was_there: &|seq| seq > 50, ..around(Some(60)) }).expect("ours");
    assert_eq!(done.lost, [(51, 60)]);
}

#[test]
fn another_version_is_not_touched() {
    let (mut bytes, _) = segment(&[1]);
    let place = bytes.len() as u64;
    Header { v: 2, first: 2, last: 2, prev: 1, synced: 1, bytes: 0 }.write(&mut bytes);
    assert_eq!(mend(&bytes, around(None)).err(), Some(OtherVersion(place)));
    Header { v: 2, first: 3, last: 3, prev: 2, synced: 2, bytes: 900 }.write(&mut bytes);
    assert_eq!(mend(&bytes, around(None)).err(), Some(OtherVersion(place)), "also where its end is torn");
}
