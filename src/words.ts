/**
 * What a guest says, or a VMM that one may have taken over, fit for a log line or a reason: at most `maxCharacters` of it, on one
 * line, and with nothing in it that would act on a terminal or look like another text than it is.
 */
export const wordsOf = (text: string, maxCharacters: number): string =>
  text
    .slice(0, maxCharacters)
    .replaceAll(
      /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
      (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
    )
