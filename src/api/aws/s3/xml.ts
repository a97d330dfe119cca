/** An element's text, ready to be written. */
export interface Xml {
  readonly xml: string
}

const escapes: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;" }

const escapeText = (text: string) =>
  text.replace(
    // oxlint-disable-next-line no-control-regex -- a key may hold control characters, which S3 writes as references
    /[&<>"'\u0000-\u001f\u007f]/g,
    (character) => escapes[character] ?? `&#x${character.charCodeAt(0).toString(16)};`,
  )

/** An element of text or of elements; `undefined` ones are left out. */
export const element = (
  name: string,
  content: string | number | boolean | Date | readonly (Xml | undefined)[],
): Xml => {
  if (typeof content === "object" && !(content instanceof Date)) {
    return { xml: `<${name}>${content.map((child) => child?.xml ?? "").join("")}</${name}>` }
  }
  const text = content instanceof Date ? content.toISOString() : escapeText(String(content))
  return { xml: `<${name}>${text}</${name}>` }
}

/** A document: the root in S3's namespace. */
export const toXml = (root: Xml): string =>
  `<?xml version="1.0" encoding="UTF-8"?>\n${root.xml.replace(/^<(?!Error)(\w+)>/, '<$1 xmlns="http://s3.amazonaws.com/doc/2006-03-01/">')}`

const unescapeText = (text: string) =>
  text.replace(
    /&(?:(amp|lt|gt|quot|apos)|#(\d{1,7})|#x([0-9a-fA-F]{1,6}));/g,
    (whole, name?: string, decimal?: string, hex?: string) => {
      if (name !== undefined) return { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" }[name] ?? whole
      const code = decimal === undefined ? Number.parseInt(hex ?? "", 16) : Number(decimal)
      return code <= 0x10ffff ? String.fromCodePoint(code) : whole
    },
  )

/**
 * Takes the first so many flat records `<name><a>…</a><b>…</b></name>` out of a small document: all that S3 requests need.
 * There are no entities, declarations or nesting to be attacked by, because none is understood.
 */
export const parseRecords = (xml: string, name: string, most: number): Map<string, string>[] =>
  xml
    .split(`<${name}>`, most + 1)
    .slice(1)
    .map((piece) => {
      const end = piece.indexOf(`</${name}>`)
      const fields = piece.slice(0, end === -1 ? 0 : end).matchAll(/<(\w+)>([^<]*)<\/\1>/g)
      return new Map([...fields].map(([, field = "", text = ""]) => [field, unescapeText(text).trim()]))
    })
