"""Text <-> ids with a checkpoint's SentencePiece model, as the slow LlamaTokenizer does it. Torch-free.

One difference, on purpose: special tokens are never recognised in text. ``</s>`` typed by a user is text;
an end of sequence is put between texts by whoever builds the prompt.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2

from m3_backbone.types import CheckpointError

_SPACE = "▁"


class Tokenizer:
    """A SentencePiece model with Llama's rules about spaces.

    legacy: transformers' flag. True: every text between special tokens gets a space in front.
        False: only the first one of a chunk does.
    """

    def __init__(self, model: bytes, *, legacy: bool) -> None:
        proto = sentencepiece_model_pb2.ModelProto()
        proto.ParseFromString(model)
        self.legacy = legacy
        if not legacy:
            proto.normalizer_spec.add_dummy_prefix = False
        self._pieces = sentencepiece.SentencePieceProcessor()
        self._pieces.LoadFromSerializedProto(proto.SerializeToString())
        self.bos_id: int = self._pieces.bos_id()
        self.eos_id: int = self._pieces.eos_id()
        self.size: int = self._pieces.GetPieceSize()
        unknown = self._pieces.IdToPiece(self._pieces.unk_id())
        self._guard = unknown
        self._guard_length = len(self._pieces.EncodeAsIds(unknown))
        self._special = frozenset(
            index
            for index in range(self.size)
            if self._pieces.IsControl(index) or self._pieces.IsUnknown(index)
        )

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """From ``tokenizer.model`` and the ``legacy`` flag of ``tokenizer_config.json`` (absent: True).

        Raises `CheckpointError` when the model is missing, unreadable or without begin and end tokens.
        """
        path = folder / "tokenizer.model"
        try:
            model = path.read_bytes()
        except OSError:
            beside = (
                " The tokenizer.json beside it is not read." if (folder / "tokenizer.json").is_file() else ""
            )
            raise CheckpointError(
                f"{path} is missing: take the language model's (Vicuna's or Llama's).{beside}"
            ) from None
        legacy = True
        try:
            settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
            flag = settings.get("legacy")
            if flag is not None and not isinstance(flag, bool):
                raise ValueError(f"legacy is {flag!r}, not true or false")
            legacy = flag is not False
        except FileNotFoundError:
            pass
        except (ValueError, AttributeError, OSError) as error:
            raise CheckpointError(f"{folder / 'tokenizer_config.json'} cannot be read: {error}.") from error
        try:
            tokenizer = cls(model, legacy=legacy)
        except Exception as error:  # protobuf and SentencePiece raise kinds of their own
            raise CheckpointError(f"{path} is no SentencePiece model: {type(error).__name__}.") from error
        if tokenizer.bos_id < 0 or tokenizer.eos_id < 0:
            raise CheckpointError(f"{path} has no begin or no end of sequence token.")
        return tokenizer

    def encode(self, text: str) -> list[int]:
        """Ids of one text, no BOS."""
        return self.encode_chunk((text,))

    def encode_chunk(self, texts: Sequence[str]) -> list[int]:
        """Ids of texts with an end of sequence between them; no BOS.

        What the reference makes of ``"</s>".join(texts)``, were none of the texts to hold a special token.
        """
        ids: list[int] = []
        for position, text in enumerate(texts):
            if position:
                ids.append(self.eos_id)
            if not self.legacy:
                text = text.replace(_SPACE, " ")
                if position == 0 and text:
                    text = _SPACE + text
            ids += self._encode(text)
        return ids

    def _encode(self, text: str) -> list[int]:
        if not text:
            return []
        if self.legacy or not text.startswith((_SPACE, " ")):
            return list(self._pieces.EncodeAsIds(text))
        # SentencePiece would swallow the first space: something harmless goes in front and out again.
        return list(self._pieces.EncodeAsIds(self._guard + text)[self._guard_length :])

    def pieces(self) -> list[str]:
        """Every piece, by id."""
        return [str(self._pieces.IdToPiece(index)) for index in range(self.size)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special tokens, and ids beyond the model's pieces, are skipped."""
        pieces = [
            self._pieces.IdToPiece(int(index))
            for index in ids
            if 0 <= index < self.size and index not in self._special
        ]
        if not pieces:
            return ""
        pieces[0] = pieces[0].removeprefix(_SPACE)
        return str(self._pieces.DecodePieces(pieces))
