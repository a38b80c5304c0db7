// An exported pack in the browser: checked, described by its card, decoded by onnxruntime-web.

import * as ort from "onnxruntime-web/wasm";

ort.env.wasm.numThreads = 1; // more need a server that sends cross-origin isolation headers

const SEAL = new TextEncoder().encode("dsetpack.sha256"); // the key of the file's last entry; its value are 64 digits
const DIGITS = 64;
const HEAD = 2 + 2 + SEAL.length + 2; // tags and lengths of the entry, its key and its value

export class OnnxPack {
  /**
   * Open the bytes (Uint8Array) of a model that `dsetpack export` wrote.
   * Throws an Error that says what is wrong with them.
   */
  static async open(bytes) {
    await checkSeal(bytes);
    const found = metadata(bytes);
    const info = JSON.parse(found["dsetpack"]);
    if (info.layout > 1) throw new Error(`layout ${info.layout}, this page knows 1: update it`);
    if (info.decoder_only) throw new Error("a decoder alone, without sources: export without --decoder-only");
    const session = await ort.InferenceSession.create(bytes, { executionProviders: ["wasm"] });
    return new OnnxPack(session, info, JSON.parse(found["dsetpack.card"]));
  }

  constructor(session, info, card) {
    Object.assign(this, { session, info, card });
    this.length = info.parts.reduce((sum, part) => sum + part.sources * part.slots, 0);
    this.isRaw = info.space === "raw" || (card.space?.kind ?? "raw") === "raw";
  }

  /**
   * Decode pairs (numbers in 0..length-1) in one call.
   * `noise`: for generators, Float32Array of pairs.length × info.noise; normal and new each time if left out.
   * Returns `images` (Float32Array) of `shape` [N, C, H, W], and `labels`: class numbers, or an array of shares each.
   */
  async decode(pairs, noise) {
    const count = pairs.length;
    const feeds = { index: new ort.Tensor("int64", BigInt64Array.from(pairs, BigInt), [count]) };
    const size = this.info.noise;
    if (size) feeds.noise = new ort.Tensor("float32", noise ?? normal(count * size), [count, size]);
    const { image, label } = await this.session.run(feeds);
    return { images: image.data, shape: image.dims, labels: labelsOf(label) };
  }
}

function labelsOf({ data, dims }) {
  if (dims.length === 1) return Array.from(data, Number);
  return Array.from({ length: dims[0] }, (_, row) => Array.from(data.subarray(row * dims[1], (row + 1) * dims[1])));
}

/** Normal numbers (Box and Muller 1958). */
function normal(count) {
  const draw = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return Float32Array.from({ length: count }, draw);
}

/** The file ends with the SHA-256 of all bytes before its last entry. */
async function checkSeal(bytes) {
  const end = bytes.length - HEAD - DIGITS;
  const key = bytes.subarray(end + 4, end + 4 + SEAL.length);
  if (end < 0 || key.some((byte, i) => byte !== SEAL[i])) {
    throw new Error("no dsetpack checksum at the end: cut short, or no file that dsetpack exported");
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes.subarray(0, end)));
  const found = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
  if (found !== text(bytes.subarray(-DIGITS))) throw new Error("damaged: its SHA-256 is not the one at its end");
}

/** The model's metadata: field 14 of the protobuf message, entries of a key (1) and a value (2). */
function metadata(bytes) {
  const found = {};
  for (const [field, value] of fields(bytes)) {
    if (field !== 14) continue;
    const entry = Object.fromEntries(fields(value));
    found[text(entry[1])] = text(entry[2]);
  }
  return found;
}

/** Number and value of each field of a protobuf message whose fields are integers or bytes, as all of ours are. */
function* fields(bytes) {
  let at = 0;
  const varint = () => {
    let [value, scale] = [0, 1];
    for (; bytes[at] > 127; at++, scale *= 128) value += (bytes[at] & 127) * scale;
    return value + bytes[at++] * scale;
  };
  while (at < bytes.length) {
    const [key, number] = [varint(), varint()];
    if ((key & 7) === 0) {
      yield [key >> 3, number];
    } else {
      yield [key >> 3, bytes.subarray(at, at + number)];
      at += number;
    }
  }
}

function text(bytes) {
  return new TextDecoder().decode(bytes);
}
