"""Vectors of sentences by a pretrained encoder."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ironlearn.exceptions import MissingExtraError, ModelFileError
from ironlearn.nn.autograd import Tensor, no_grad
from ironlearn.nn.backend.device import Device, get_device
from ironlearn.nn.pretrained.bert import BertEncoder
from ironlearn.nn.pretrained.weights import read_weights


class SentenceEncoder:
    """Turns sentences into vectors: the mean of an encoder's vectors, with length 1.

    Parameters
    ----------
    network : BertEncoder
        The encoder, with its weights.
    tokenizer : tokenizers.Tokenizer
        Cuts sentences into the network's word pieces.
    max_length : int, default=256
        Word pieces of a sentence that count; the rest is cut off.
    device : str or Device, default="cpu"
        Where to compute.

    Notes
    -----
    Reimers and Gurevych, "Sentence-BERT" (arXiv:1908.10084).
    """

    def __init__(
        self,
        network: BertEncoder,
        tokenizer: Any,
        *,
        max_length: int = 256,
        device: str | Device = "cpu",
    ) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.device = get_device(device)
        network.to_device(self.device)

    @classmethod
    def from_folder(
        cls, folder: str | os.PathLike[str], *, device: str | Device = "cpu"
    ) -> SentenceEncoder:
        """Return the encoder in a folder of the library sentence-transformers.

        Parameters
        ----------
        folder : str or path-like
            Holds ``config.json``, ``model.safetensors`` and ``tokenizer.json``.
        device : str or Device, default="cpu"
            Where to compute.

        Returns
        -------
        SentenceEncoder

        Raises
        ------
        ModelFileError
            A file is damaged, or of another kind of network.
        MissingExtraError
            The library tokenizers is not installed.
        OSError
            A file is not there.
        """
        try:
            from tokenizers import Tokenizer
        except ImportError as error:
            raise MissingExtraError(
                "word pieces need the library tokenizers: pip install 'ironlearn[text]'."
            ) from error
        where = Path(folder)
        try:
            config = json.loads((where / "config.json").read_text(encoding="utf-8"))
            length = 256
            extra = where / "sentence_bert_config.json"
            if extra.exists():
                length = int(json.loads(extra.read_text(encoding="utf-8"))["max_seq_length"])
        except (ValueError, KeyError, TypeError) as error:
            raise ModelFileError(f"{where} holds no readable configuration: {error}") from error
        network = BertEncoder.from_config(config)
        network.load_huggingface(read_weights(where / "model.safetensors"))
        text = (where / "tokenizer.json").read_text(encoding="utf-8")
        try:
            tokenizer = Tokenizer.from_str(text)
        except Exception as error:  # its own error type is a bare Exception
            raise ModelFileError(f"{where / 'tokenizer.json'} is damaged: {error}") from error
        tokenizer.no_padding()
        length = min(length, network.max_positions)
        tokenizer.enable_truncation(length)
        return cls(network, tokenizer, max_length=length, device=device)

    def encode(
        self, texts: Sequence[str], *, batch_size: int = 32, normalize: bool = True
    ) -> NDArray[np.float32]:
        """Return a vector for each text.

        Parameters
        ----------
        texts : sequence of str
            Any lengths; an empty one has a vector too, that of the marks around it.
        batch_size : int, default=32
            Texts computed at once.
        normalize : bool, default=True
            Give vectors the length 1, so that their products are cosines.

        Returns
        -------
        ndarray of shape (n_texts, width)

        Raises
        ------
        TypeError
            `texts` is one string, or holds something else than strings.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise TypeError("texts must be a sequence of strings.")
        pieces = [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        answer = np.zeros((len(pieces), self.network.hidden_size), np.float32)
        # Texts of like length together, so that little is padding.
        order = np.argsort([len(ids) for ids in pieces], kind="stable")
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            answer[rows] = self._batch([pieces[i] for i in rows])
        if normalize:
            answer /= np.maximum(np.linalg.norm(answer, axis=1, keepdims=True), 1e-12)
        return answer

    def _batch(self, pieces: list[list[int]]) -> NDArray[Any]:
        length = max(1, *(len(ids) for ids in pieces))
        ids = np.zeros((len(pieces), length), np.int64)
        mask = np.zeros((len(pieces), length), bool)
        for row, one in enumerate(pieces):
            ids[row, : len(one)] = one
            mask[row, : len(one)] = True
        send = self.device.send
        with no_grad():
            full = None if mask.all() else send(mask)
            vectors = self.network(Tensor(send(ids)), mask=full).data
            keep = send(mask.astype(np.float32))[:, :, None]
            total = (vectors * keep).sum(axis=1) / self.device.xp.maximum(keep.sum(axis=1), 1)
        return self.device.receive(total)
