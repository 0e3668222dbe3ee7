"""The shopping assistant's understanding of language, and the shapes in which it answers.

Owns: what a reply is made of, intents and their classifier, the grammar that finds prices, sizes, order numbers and dates in a sentence,
the sentences it may say, and the data these are learned from. Promises that a sentence is filled only with what a tool of the same turn
returned, that nothing is changed without a confirmation, and that no text of a listing or a review is ever taken for an instruction.

It does not act: tools (flows/assistant_tools) do, with the rights of whoever talks. It keeps nothing: sessions and transcripts have
their own tables.
"""
