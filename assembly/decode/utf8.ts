// Whether bytes are UTF-8 as RFC 3629 and Unicode's table 3-7 define it: no overlong form, no
// surrogate, nothing above U+10FFFF. Nearly all label text is ASCII, so that is asked first, 16
// bytes at a time; the reads may pass the end (layout.ts keeps SLACK_BYTES free), the answer does
// not depend on what lies there.

export function isUtf8(start: usize, bytes: u32): bool {
  const end = start + bytes;
  let at = start;
  while (at + 16 <= end) {
    if (i8x16.bitmask(v128.load(at)) !== 0) return isUtf8From(at, end);
    at += 16;
  }
  if (at === end) return true;
  const inside = (1 << (<i32>(end - at))) - 1;
  return (i8x16.bitmask(v128.load(at)) & inside) === 0 ? true : isUtf8From(at, end);
}

function isUtf8From(start: usize, end: usize): bool {
  let at = start;
  while (at < end) {
    const lead: u32 = load<u8>(at++);
    if (lead < 0x80) continue;
    if (lead < 0xc2 || lead > 0xf4) return false;
    const more: u32 = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    if (<u32>(end - at) < more) return false;
    const second: u32 = load<u8>(at);
    let low: u32 = 0x80;
    let high: u32 = 0xbf;
    if (lead === 0xe0) low = 0xa0;
    else if (lead === 0xed) high = 0x9f;
    else if (lead === 0xf0) low = 0x90;
    else if (lead === 0xf4) high = 0x8f;
    if (second < low || second > high) return false;
    for (let i: u32 = 1; i < more; i++) {
      if ((load<u8>(at + i) & 0xc0) !== 0x80) return false;
    }
    at += more;
  }
  return true;
}
