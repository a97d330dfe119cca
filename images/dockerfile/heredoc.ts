/**
 * Whether a line opens a heredoc: a word of its own, outside of quotes, like `<<EOF`, `<<-"EOF"` or `3<<EOF`. `1 << 2`, `$((1<<2))` and
 * the shell's `<<<` open none.
 */
export const opensHeredoc = (text: string): boolean => {
  let quote = ""
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (quote !== "") {
      if (char === "\\" && quote === '"') at++
      else if (char === quote) quote = ""
    } else if (char === "\\") at++
    else if (char === '"' || char === "'") quote = char
    else if (char === "<" && isOpening(text, at)) return true
    // The rest of a word that began with it is no opening.
    else if (char === "<") while (text[at + 1] === "<") at++
  }
  return false
}

const isOpening = (text: string, at: number): boolean => {
  if (!/^<<-?[^\s<-][^\s<]*(?:\s|$)/.test(text.slice(at, at + 300))) return false
  let before = at
  while (/\d/.test(text[before - 1] ?? "") && at - before < 10) before--
  return before === 0 || /\s/.test(text[before - 1] ?? "")
}
