//! The checks on `wire`: no octets may panic it, and what it takes must mean the same after a round trip.
//!
//! Included by the fuzz targets and, by path, by the replay test of the crate; it uses nothing but `wire`.

use wire::{Answer, EdnsOut, EdnsQuery, Name, NameBuf, NameRef, Query, Rcode, Render, Reply, Rrset, Rtype};

const HEADER: usize = 12;

/// Any packet, as a query and as a reply: parsed, answered, rendered in two sizes and parsed again.
pub fn message(data: &[u8]) {
    query(data);
    let mut data = data.to_vec();
    if let Some(flags) = data.get_mut(2) {
        *flags |= 0x80;
    }
    reply(&data);
}

fn query(data: &[u8]) {
    let mut out = vec![0; data.len() + 512];
    match Query::parse(data) {
        Ok(q) => {
            let mut answer = Answer::new(Rcode::SERVFAIL);
            answer.ede = Some(wire::Ede::new(wire::Ede::OTHER, "text"));
            let edns = q.edns.map(|_| EdnsOut { udp_size: 1232, ede: true, nsid: Some(b"n"), ..EdnsOut::default() });
            let how = Render { max_size: 512, minimal: true, rotate: Some(u32::from(q.id)), age: 1, ra: true, edns };
            let written = wire::render(&q, &answer, &how, &mut out);
            let back = Reply::parse(&out[..written]).expect("our own reply");
            assert_eq!((back.id, back.rcode), (q.id, Rcode::SERVFAIL));
            assert_eq!(back.question, Some((q.qname, q.qtype, q.qclass)));
            assert_eq!(back.edns.is_some(), q.edns.is_some());
        }
        Err(reject) => {
            let written = wire::reject(data, &reject, &mut out);
            assert!(written <= data.len() + 11, "a reject is no amplifier");
            assert!(written == 0 || out[2] & 0x80 != 0);
        }
    }
    assert!(wire::refuse(data, true, 1232, &mut out) <= data.len() + 6);
}

fn reply(data: &[u8]) {
    let Ok(reply) = Reply::parse(data) else { return };
    assert!(data.len() >= HEADER);
    for set in reply.answer.iter().chain(&reply.authority).chain(&reply.additional) {
        assert!(!set.rdata.is_empty());
        for rdata in &set.rdata {
            data_text(set.rtype, rdata);
        }
    }
    let (qname, qtype, qclass) = reply.question.unwrap_or((NameBuf::root(), Rtype::ANY, wire::Class::IN));
    let edns = Some(EdnsQuery { udp_size: 1232, do_bit: true, ..EdnsQuery::default() });
    let q = Query { id: reply.id, flags: reply.flags, qname, qtype, qclass, edns };
    let answer = Answer {
        answer: reply.answer,
        authority: reply.authority,
        additional: reply.additional,
        ..Answer::new(reply.rcode)
    };
    let out_edns = Some(EdnsOut { udp_size: 1232, ..EdnsOut::default() });
    let how = Render { max_size: 65535, minimal: false, rotate: None, age: 0, ra: true, edns: out_edns };
    let mut out = vec![0; 65535];
    for max_size in [65535, 512] {
        let written = wire::render(&q, &answer, &Render { max_size, ..how }, &mut out);
        assert!((HEADER..=max_size).contains(&written));
        let back = Reply::parse(&out[..written]).expect("our own message");
        assert_eq!(back.rcode, answer.rcode);
        if back.tc() {
            continue;
        }
        same(&answer.answer, &back.answer);
        same(&answer.authority, &back.authority);
    }
}

/// Compression may change the case of names, so that two records become one; nothing else may change.
fn same(sent: &[Rrset], back: &[Rrset]) {
    assert_eq!(sent.len(), back.len());
    for (sent, back) in sent.iter().zip(back) {
        assert_eq!((&sent.owner, sent.rtype, sent.class, sent.ttl), (&back.owner, back.rtype, back.class, back.ttl));
        for (sent, back) in [(&sent.rdata, &back.rdata), (&sent.sigs, &back.sigs)] {
            assert!(back.len() <= sent.len());
            for rdata in back {
                assert!(sent.iter().any(|have| have.eq_ignore_ascii_case(rdata)));
            }
        }
    }
}

/// Data as text reads back to the same octets, or is shown in the generic form because it is malformed.
fn data_text(rtype: Rtype, rdata: &[u8]) {
    let text = wire::rdata_to_text(rtype, rdata);
    match wire::text::parse_rdata(rtype, &text) {
        Ok(back) => assert_eq!(back, rdata, "{rtype} {text}"),
        Err(error) => assert!(text.starts_with("\\#"), "{rtype} {text}: {error}"),
    }
}

/// A packet whose first two octets say where in it a name is read; also the octets as a name's wire form and its text.
pub fn name(data: &[u8]) {
    if let Some((at, packet)) = data.split_first_chunk::<2>()
        && let Ok((name, after)) = NameBuf::from_packet(packet, usize::from(u16::from_be_bytes(*at)))
    {
        assert!(after <= packet.len());
        name_holds(&name);
    }
    if let Ok(name) = NameRef::from_wire(data) {
        name_holds(&name.to_buf());
    }
    if let Ok(name) = NameBuf::from_text_bytes(data) {
        name_holds(&name);
    }
}

fn name_holds(name: &NameBuf) {
    let wire = name.as_ref().as_wire();
    assert!(Name::from_wire(wire).is_ok_and(|back| back.as_ref().same_case(name.as_ref())));
    let text = name.to_string();
    assert!(Name::from_text(&text).is_ok_and(|back| back.as_ref().same_case(name.as_ref())), "{text}");
    assert_eq!(name.lower(), *name);
    assert_eq!(name.as_ref().ancestors().count(), name.as_ref().label_count() + 1);
    for above in name.as_ref().ancestors() {
        assert!(name.as_ref().is_subdomain_of(above));
        assert!(above <= name.as_ref(), "a name sorts before what is below it");
    }
}

/// The octets as what follows the question of a query with one additional record, as its EDNS options, and as those of a
/// reply.
pub fn edns(data: &[u8]) {
    const QUESTION: &[u8] = b"\x01a\0\0\x01\0\x01";
    let packet = |flags: u8, tail: &[u8]| [&[0, 1, flags, 0, 0, 1, 0, 0, 0, 0, 0, 1], QUESTION, tail].concat();
    let len = u16::try_from(data.len()).unwrap_or(u16::MAX);
    let options = [&[0, 0, 41, 4, 208, 0, 0, 0x80, 0], &len.to_be_bytes()[..], data].concat();
    query(&packet(1, data));
    query(&packet(1, &options));
    reply(&packet(0x80, &options));
    if let Ok(q) = Query::parse(&packet(1, &options)) {
        let edns = q.edns.expect("the OPT record is whole");
        assert!(edns.do_bit && edns.udp_size == 1232);
        assert!(edns.cookie.is_none_or(|cookie| matches!(cookie.server().len(), 0 | 8..=32)));
    }
}

/// A record line; what is read is shown and read again.
pub fn record(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match wire::parse_record(text, 3600) {
        Ok(record) if record.rdata.is_empty() => {}
        Ok(record) => {
            let shown = wire::rdata_to_text(record.rtype, &record.rdata);
            let line =
                format!("{} {} {} {} {shown}", record.owner, record.ttl.unwrap_or(0), record.class, record.rtype);
            assert_eq!(wire::parse_record(&line, 0).as_ref(), Ok(&record), "{line}");
        }
        Err(error) => assert!(error.at <= text.len()),
    }
}
