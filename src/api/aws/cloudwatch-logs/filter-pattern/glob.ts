/** Text in which each * stands for anything. Takes time in proportion to the text, whatever the pattern. */
export const parseGlob = (glob: string): ((text: string) => boolean) => {
  const [first = "", ...rest] = glob.split("*")
  const last = rest.pop()
  if (last === undefined) return (text) => text === first
  return (text) => {
    if (!text.startsWith(first)) return false
    let from = first.length
    for (const piece of rest) {
      const at = text.indexOf(piece, from)
      if (at === -1) return false
      from = at + piece.length
    }
    return text.length - last.length >= from && text.endsWith(last)
  }
}
