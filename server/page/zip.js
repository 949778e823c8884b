// A ZIP archive of files that are compressed already, and so are stored as they are.

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function crc(data) {
  let value = 0xffffffff;
  for (const byte of data) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return (value ^ 0xffffffff) >>> 0;
}

/** Fields of 2 and 4 bytes, the least significant byte first. */
function fields(...values) {
  const bytes = values.flatMap(([value, size]) => Array.from({ length: size }, (_, at) => (value >>> (8 * at)) & 0xff));
  return Uint8Array.from(bytes);
}

/** The archive of ``files``, pairs of a name and its bytes. Equal names are told apart by numbers. */
export function zipped(files) {
  const [parts, directory, names] = [[], [], new Set()];
  let offset = 0;
  for (const [wanted, data] of files) {
    let name = wanted;
    for (let number = 2; names.has(name); number += 1) name = wanted.replace(/(\.\w+)$/, `_${number}$1`);
    names.add(name);
    const title = new TextEncoder().encode(name);
    const common = fields([20, 2], [0x800, 2], [0, 2], [0, 2], [0x21, 2], [crc(data), 4], [data.length, 4], [data.length, 4], [title.length, 2], [0, 2]);
    parts.push(fields([0x04034b50, 4]), common, title, data);
    directory.push(fields([0x02014b50, 4], [20, 2]), common, fields([0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]), title);
    offset += 4 + common.length + title.length + data.length;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = fields([0x06054b50, 4], [0, 2], [0, 2], [files.length, 2], [files.length, 2], [size, 4], [offset, 4], [0, 2]);
  return new Blob([...parts, ...directory, end], { type: "application/zip" });
}
