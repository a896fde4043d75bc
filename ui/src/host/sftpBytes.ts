/* Reading and writing SFTP packets: big endian, strings with a length in front. */
import { TowlineError } from '../net/errors'

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export class Writer {
  private buffer = new Uint8Array(256)
  private view = new DataView(this.buffer.buffer)
  private at = 4

  /** A packet of `type`; every packet but INIT has an id. */
  constructor(type: number, readonly id = 0) {
    this.u8(type)
    if (id) this.u32(id)
  }

  u8(value: number): this {
    this.room(1)
    this.view.setUint8(this.at, value)
    this.at += 1
    return this
  }

  u32(value: number): this {
    this.room(4)
    this.view.setUint32(this.at, value >>> 0)
    this.at += 4
    return this
  }

  u64(value: number): this {
    this.room(8)
    this.view.setBigUint64(this.at, BigInt(value))
    this.at += 8
    return this
  }

  raw(bytes: Uint8Array): this {
    this.room(bytes.length)
    this.buffer.set(bytes, this.at)
    this.at += bytes.length
    return this
  }

  bytes(bytes: Uint8Array): this {
    return this.u32(bytes.length).raw(bytes)
  }

  string(text: string): this {
    return this.bytes(encoder.encode(text))
  }

  /** The whole packet, length word included. */
  done(): Uint8Array {
    this.view.setUint32(0, this.at - 4)
    return this.buffer.subarray(0, this.at)
  }

  private room(more: number): void {
    if (this.at + more <= this.buffer.length) return
    const bigger = new Uint8Array(Math.max(this.buffer.length * 2, this.at + more))
    bigger.set(this.buffer.subarray(0, this.at))
    this.buffer = bigger
    this.view = new DataView(bigger.buffer)
  }
}

/** Reads one packet; a short one throws. The slices it gives are borrowed from the packet. */
export class Reader {
  private readonly view: DataView
  private at = 0

  constructor(private readonly packet: Uint8Array) {
    this.view = new DataView(packet.buffer, packet.byteOffset, packet.length)
  }

  u8(): number {
    this.need(1)
    return this.view.getUint8(this.at++)
  }

  u32(): number {
    this.need(4)
    this.at += 4
    return this.view.getUint32(this.at - 4)
  }

  u64(): number {
    this.need(8)
    this.at += 8
    return Number(this.view.getBigUint64(this.at - 8))
  }

  raw(length: number): Uint8Array {
    this.need(length)
    this.at += length
    return this.packet.slice(this.at - length, this.at)
  }

  bytes(): Uint8Array {
    return this.raw(this.u32())
  }

  string(): string {
    return decoder.decode(this.bytes())
  }

  private need(count: number): void {
    if (this.packet.length - this.at < count) throw TowlineError.of('protocol', 'read an answer about files', 'the packet is too short')
  }
}
