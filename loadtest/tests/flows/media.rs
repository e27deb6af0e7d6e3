//! Synthetic HLS: fragmented MP4 with one track of 25 frames a second, transport streams, and playlists.

use std::fmt::Write;

/// Ticks a second.
const TIMESCALE: u32 = 12_800;
/// Ticks a frame.
const FRAME: u32 = 512;

fn atom(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    let size = u32::try_from(payload.len() + 8).unwrap();
    [&size.to_be_bytes()[..], kind, payload].concat()
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

/// An initialisation section with one video track whose samples last a frame.
pub(crate) fn init() -> Vec<u8> {
    const UNITY: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
    let ftyp = atom(b"ftyp", &[&b"iso6"[..], &words(&[0]), b"iso6"].concat());
    let mvhd = [&[0, 0, 0, TIMESCALE, 0, 0x1_0000, 0x0100_0000, 0, 0][..], &UNITY, &[0; 6], &[2]].concat();
    let tkhd = [&[3, 0, 0, 1, 0, 0, 0, 0, 0, 0][..], &UNITY, &[320 << 16, 180 << 16]].concat();
    let mdhd = [0, 0, 0, TIMESCALE, 0, 0x55c4_0000];
    let hdlr = [&words(&[0, 0])[..], b"vide", &words(&[0, 0, 0]), b"x\0"].concat();
    let dref = atom(b"dref", &[words(&[0, 1]), atom(b"url ", &words(&[1]))].concat());
    let stbl = [
        atom(b"stsd", &words(&[0, 0])),
        atom(b"stts", &words(&[0, 0])),
        atom(b"stsc", &words(&[0, 0])),
        atom(b"stsz", &words(&[0, 0, 0])),
        atom(b"stco", &words(&[0, 0])),
    ]
    .concat();
    let minf = [atom(b"vmhd", &words(&[1, 0, 0])), atom(b"dinf", &dref), atom(b"stbl", &stbl)].concat();
    let mdia = [atom(b"mdhd", &words(&mdhd)), atom(b"hdlr", &hdlr), atom(b"minf", &minf)].concat();
    let trak = [atom(b"tkhd", &words(&tkhd)), atom(b"mdia", &mdia)].concat();
    let mvex = atom(b"trex", &words(&[0, 1, 1, FRAME, 0, 0]));
    let moov = [atom(b"mvhd", &words(&mvhd)), atom(b"trak", &trak), atom(b"mvex", &mvex)].concat();
    [ftyp, atom(b"moov", &moov)].concat()
}

/// A segment that begins at a frame and lasts so many frames, with so many bytes of data.
pub(crate) fn segment(first_frame: u32, frames: u32, bytes: usize) -> Vec<u8> {
    let traf = [
        atom(b"tfhd", &words(&[0x2_0000, 1])),
        atom(b"tfdt", &words(&[0, first_frame * FRAME])),
        atom(b"trun", &words(&[0, frames])),
    ]
    .concat();
    let moof = [atom(b"mfhd", &words(&[0, 1])), atom(b"traf", &traf)].concat();
    [atom(b"moof", &moof), atom(b"mdat", &vec![0; bytes])].concat()
}

/// A transport stream of so many packets of one stream, the first with this counter.
pub(crate) fn transport_stream(first_counter: u8, packets: u8) -> Vec<u8> {
    (0..packets)
        .flat_map(|index| {
            let mut packet = vec![0x47, 0x01, 0x00, 0x10 | (first_counter.wrapping_add(index) & 0x0f)];
            packet.resize(188, 0);
            packet
        })
        .collect()
}

/// A media playlist of the segments `first..end`, named by `name`.
pub(crate) fn playlist(
    head: &str,
    first: u64,
    end: u64,
    seconds: f64,
    name: impl Fn(u64) -> String,
    is_ended: bool,
) -> String {
    let target = seconds.ceil();
    let mut text =
        format!("#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{target}\n#EXT-X-MEDIA-SEQUENCE:{first}\n{head}");
    for sequence in first..end {
        write!(text, "#EXTINF:{seconds},\n{}\n", name(sequence)).unwrap();
    }
    if is_ended {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}
