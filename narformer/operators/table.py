"""The table of operators of ONNX, ai.onnx.ml and ONNX Runtime (com.microsoft): a row an operator.

Rows that differ in nothing but the name are written together. Signatures: the operators' documentation in ONNX (opset
28) and ONNX Runtime (1.32). An operator of ONNX Runtime's other domains is that of com.microsoft, else ONNX's own.
"""

from __future__ import annotations

from typing import Any

from narformer.operators import attention as att
from narformer.operators import macs, memory, scalar, trees
from narformer.operators.operator import ALL, REST, Operator

Key = tuple[str, str]
TABLE: dict[Key, Operator] = {}
MICROSOFT, ML = "com.microsoft", "ai.onnx.ml"


def _add(kind: str, names: str, domain: str = "", **fields: Any) -> None:
    for name in names.split():
        TABLE[domain, name] = Operator(name, domain, kind, **fields)


# Convolutions; operands data, weight, bias.
_add("convolution", "Conv", macs=macs.convolution(), weights=(1, 2))
_add("convolution", "DeformConv", macs=macs.convolution(), operations=scalar.window, weights=(1, 3))
_add("convolution", "ConvInteger", macs=macs.convolution(), weights=(1,), scales=(2, 3))
_QLINEAR: dict[str, Any] = {"weights": (3, 8), "scales": (1, 2, 4, 5, 6, 7)}
_add("convolution", "QLinearConv", macs=macs.convolution(0, 3, None), **_QLINEAR)
_add("depthwise", "CausalConvWithState", macs=macs.convolution(channels=None), weights=(1, 2), buffers=(3,))
_add("transposed convolution", "ConvTranspose", macs=macs.transposed_convolution(), weights=(1, 2))

_FUSED: dict[str, Any] = {"operations": scalar.activated, "weights": (1, 2)}
_add("convolution", "FusedConv", MICROSOFT, macs=macs.convolution(), **_FUSED)
_add("convolution", "NhwcConv NhwcFusedConv", MICROSOFT, macs=macs.convolution(channels=None), **_FUSED)
_add("depthwise", "CausalConvWithState", MICROSOFT, macs=macs.convolution(channels=None), **_FUSED, buffers=(3,))
_add("depthwise", "VarlenCausalConvWithState", MICROSOFT, macs=macs.convolution(channels=None), weights=(1, 3))
_add(
    "transposed convolution",
    "ConvTransposeWithDynamicPads",
    MICROSOFT,
    macs=macs.transposed_convolution(),
    weights=(1, 3),
    settings=(2,),
)
_add("transposed convolution", "QLinearConvTranspose", MICROSOFT, macs=macs.transposed_convolution(0, 3), **_QLINEAR)
# Blocks pad filters to whole ones, and layouts put channels last.
_add("convolution", "Conv", "com.microsoft.nchwc", macs=macs.convolution(channels=None), **_FUSED)
_add("convolution", "Conv", "com.ms.internal.nhwc", macs=macs.convolution(channels=None), **_FUSED)

# Products of matrices.
_add("fully connected", "Gemm", macs=macs.gemm(), weights=(1, 2))
_add("matrix product", "MatMul", macs=macs.matmul(), weights=(1,))
_add("matrix product", "MatMulInteger", macs=macs.matmul(), weights=(1,), scales=(2, 3))
_add("matrix product", "QLinearMatMul", macs=macs.matmul(0, 3), weights=(3,), scales=(1, 2, 4, 5, 6, 7))
_add("matrix product", "Einsum", macs=macs.einsum)

_add("fully connected", "FusedGemm", MICROSOFT, macs=macs.gemm(), weights=(1, 2))
_add("fully connected", "GemmFloat8", MICROSOFT, macs=macs.gemm(), weights=(1, 2), scales=(3, 4, 5))
_add("fully connected", "QGemm", MICROSOFT, macs=macs.gemm(0, 3), weights=(3, 6), scales=(1, 2, 4, 5, 7, 8))
_add(
    "matrix product",
    "FusedMatMul TransposeMatMul FusedMatMulActivation SparseToDenseMatMul MatMulInteger16",
    MICROSOFT,
    macs=macs.matmul(),
    weights=(1,),
)
_add("fully connected", "GemmFastGelu", MICROSOFT, macs=macs.matmul(), operations=scalar.each(1), weights=(1, 2))
_add("matrix product", "MatMulIntegerToFloat", MICROSOFT, macs=macs.matmul(), weights=(1, 6), scales=(2, 3, 4, 5))
_add("matrix product", "DynamicQuantizeMatMul", MICROSOFT, macs=macs.matmul(), weights=(1, 4), scales=(2, 3))
_add("matrix product", "QOrderedMatMul", MICROSOFT, macs=macs.matmul(0, 2), weights=(2, 5), scales=(1, 3, 4, 7))
_PACKED: dict[str, Any] = {"macs": macs.rows, "elements": memory.packed_matrix}
_add("fully connected", "MatMulNBits", MICROSOFT, **_PACKED, weights=(1, 5), scales=(2, 3), settings=(4,))
_add("fully connected", "MatMulBnb4", MICROSOFT, **_PACKED, weights=(1,), scales=(2,))
_add("fully connected", "MatMulFpQ4", MICROSOFT, **_PACKED, weights=(1,), settings=(2,))
_add("fully connected", "MatMulPacked", MICROSOFT, **_PACKED, weights=(1,), scales=(2,))
_add("fully connected", "MatMulBlockQuantizedFp8Weight", MICROSOFT, **_PACKED, weights=(1, 4), scales=(2, 3))
_add("fully connected", "MatMulBlockQuantizedFp4Weight", MICROSOFT, **_PACKED, weights=(1, 5), scales=(2, 3, 4))
_add(
    "fully connected",
    "MatMulNBitsQkv",
    MICROSOFT,
    macs=macs.columns("Nq", "Nkv", "Nkv"),
    elements=memory.packed_several({3: "Nq", 6: "Nkv", 9: "Nkv"}),
    weights=(2, 3, 5, 6, 8, 9, 11),
    scales=(4, 7, 10),
)
_add(
    "fully connected",
    "MatMulNBitsMlp",
    MICROSOFT,
    macs=macs.columns("N", "N"),
    operations=scalar.each(2),
    elements=memory.packed_several({3: "N", 6: "N"}),
    weights=(2, 3, 5, 6, 8),
    scales=(4, 7),
)
_add("matrix product", "CDist", MICROSOFT, macs=macs.distances, operations=scalar.each(3))
_add(
    "fully connected",
    "MoE",
    MICROSOFT,
    macs=macs.experts(2, 4, 6),
    weights=range(2, 8),
    reads=memory.chosen_experts(*range(2, 8)),
)
_add(
    "fully connected",
    "QMoE",
    MICROSOFT,
    macs=macs.experts(2, 5, 8),
    weights=(2, 4, 5, 7, 8, 10),
    scales=(3, 6, 9, *range(11, 14), *range(15, 21)),
    elements=macs.packed_experts(2, 5, 8),
    reads=memory.chosen_experts(*range(2, 14)),
)
_add("fully connected", "LinearClassifier LinearRegressor", ML, macs=macs.linear_model)
_add("fully connected", "SVMClassifier SVMRegressor", ML, macs=macs.linear_model, operations=scalar.each(1))

# Recurrent cells; operands X, W, R, B, lengths, initial states, peepholes.
_CELL: dict[str, Any] = {"macs": macs.recurrent, "operations": scalar.gated}
_add("recurrent", "LSTM", **_CELL, weights=(1, 2, 3, 7), settings=(4,), buffers=(5, 6))
_add("recurrent", "GRU RNN", **_CELL, weights=(1, 2, 3), settings=(4,), buffers=(5,))
_add(
    "recurrent",
    "DynamicQuantizeLSTM",
    MICROSOFT,
    **_CELL,
    weights=(1, 2, 3, 7),
    settings=(4,),
    buffers=(5, 6),
    scales=(8, 9, 10, 11),
)


# Attention.
def _attention(name: str, keys: Any, domain: str = MICROSOFT, caches: tuple[int, ...] = (), **fields: Any) -> None:
    _add(
        "attention",
        name,
        domain,
        macs=att.attention(keys),
        operations=att.softmax(keys),
        **({"reads": memory.cached(keys, *caches)} if caches else {}),
        **fields,
    )


_attention("Attention", att.keys_of(4, total=6), "", caches=(1, 2), settings=(3, 6), buffers=(4, 5))
_attention("FlexAttention", att.keys_of(99), "ai.onnx.preview")
_attention("MultiHeadAttention", att.keys_of(6, 8), caches=(6, 7), weights=(3,), settings=(4, 5, 8, 9), buffers=(6, 7))
_attention(
    "DecoderMaskedMultiHeadAttention", att.keys_of(5, 7), caches=(5, 6), settings=(3, 4, 7, 8, 9), buffers=(5, 6)
)
_attention(
    "GroupQueryAttention",
    att.keys_of(3, total=6),
    caches=(3, 4),
    weights=(14, 15),
    writes=memory.appended(6, 3, 4),
    settings=(5, 6, 9, 10),
    buffers=(3, 4, 7, 8),
    scales=(12, 13),
)
_attention(
    "SparseAttention",
    att.keys_of(3, total=7),
    caches=(3, 4),
    writes=memory.appended(7, 3, 4),
    settings=(5, 6, 7, 8),
    buffers=(3, 4, 9, 10),
)
_add(
    "attention",
    "Attention",
    MICROSOFT,
    macs=att.projected(4, 6),
    operations=att.projected_softmax(4, 6),
    weights=(1, 2),
    settings=(3, 5, 6),
    buffers=(4,),
)
_add(
    "attention",
    "DecoderMaskedSelfAttention",
    MICROSOFT,
    macs=att.projected(4, 6),
    operations=att.projected_softmax(4, 6),
    weights=(1, 2),
    settings=(3, 5, 6, 7, 8),
    buffers=(4,),
)
_add(
    "attention",
    "QAttention",
    MICROSOFT,
    macs=att.projected(8),
    operations=att.projected_softmax(8),
    weights=(1, 2),
    settings=(5,),
    scales=(3, 4, 6, 7),
    buffers=(8,),
)
_add("attention", "PackedAttention", MICROSOFT, macs=att.packed_sequences(3, 1), weights=(1, 2), settings=(3, 4, 5))
_add(
    "attention",
    "PackedMultiHeadAttention",
    MICROSOFT,
    macs=att.packed_sequences(4, None),
    weights=(3,),
    settings=(4, 5, 6),
)
_add("attention", "LongformerAttention", MICROSOFT, macs=att.windowed, weights=(1, 2, 4, 5), settings=(3, 6))
_add("attention", "LinearAttention", macs=macs.linear_attention, operations=scalar.each(2), buffers=(3,))
_add("attention", "LinearAttention", MICROSOFT, macs=macs.linear_attention, operations=scalar.each(2), buffers=(3,))

# Element by element.
_ONE: dict[str, Any] = {"operations": scalar.each(1)}
_add("rectifier", "Relu LeakyRelu", **_ONE, fuses=True)
_add("rectifier", "PRelu", **_ONE, weights=(1,), one_by_one=1)
_add("rectifier", "ThresholdedRelu Shrink", **_ONE, one_by_one=1)
_add("clip", "Clip", **_ONE, settings=(1, 2), fuses=True)
_add("add", "Add Sub", **_ONE)
_add("add", "Sum Max Min Mean", operations=scalar.several)
_add("multiply", "Mul Div", **_ONE)
_add("multiply", "Abs Neg Ceil Floor Round", **_ONE)  # as quick as a product with a constant
_add("smooth activation", "Sigmoid Tanh", operations=scalar.each(3), fuses=True)
_add("smooth activation", "HardSigmoid", operations=scalar.each(3), fuses=True)
_add("smooth activation", "HardSwish Swish", operations=scalar.each(4))
_add("smooth activation", "Elu Celu Selu", operations=scalar.each(4), one_by_one=1.5)
_add("smooth activation", "Softplus", operations=scalar.each(4), one_by_one=10)
_add("smooth activation", "Softsign", operations=scalar.each(4), one_by_one=1)
_add("smooth activation", "Gelu SwiGLU", operations=scalar.each(5))
_add("smooth activation", "Mish", operations=scalar.each(5), one_by_one=10)
_add("smooth activation", "Erf Exp Sqrt Reciprocal", **_ONE)
_add("smooth activation", "Log", **_ONE, one_by_one=2)
_add("smooth activation", "Sin Cos", **_ONE, one_by_one=1)
_add("smooth activation", "Tan Asin Acos Atan Sinh Cosh Asinh Acosh Atanh", **_ONE, one_by_one=5)
_add("smooth activation", "Pow", **_ONE, settings=(1,), one_by_one=3.5)
_add(
    "smooth activation",
    "Gelu FastGelu QuickGelu BiasGelu BiasSplitGelu SwiGLU ScaledSiLU QOrderedGelu",
    MICROSOFT,
    operations=scalar.each(5),
    scales=(),
)
_add("softmax", "Softmax LogSoftmax Hardmax", operations=scalar.each(5))
_add("softmax", "BiasSoftmax", MICROSOFT, operations=scalar.each(6), settings=(1,))
_add("normalization", "BatchNormalization", operations=scalar.each(2), weights=(1, 2, 3, 4), buffers=(3, 4))
_NORMAL: dict[str, Any] = {"operations": scalar.each_read(7)}
_add("normalization", "LayerNormalization InstanceNormalization GroupNormalization", **_NORMAL, weights=(1, 2))
_add("normalization", "RMSNormalization", operations=scalar.each_read(4), weights=(1,))
_add("normalization", "LRN", **_NORMAL, one_by_one=30)
_add("normalization", "LpNormalization MeanVarianceNormalization", **_NORMAL)
_add("normalization", "SimplifiedLayerNormalization", operations=scalar.each_read(4), weights=(1,))
_add("normalization", "GroupNorm", MICROSOFT, **_NORMAL, weights=(1, 2))
_add("normalization", "SkipLayerNormalization", MICROSOFT, **_NORMAL, weights=(2, 3, 4))
_add("normalization", "SkipSimplifiedLayerNormalization", MICROSOFT, **_NORMAL, weights=(2, 3))
_add("normalization", "SkipGroupNorm", MICROSOFT, **_NORMAL, weights=(1, 2, 4))
_add("normalization", "GatedRMSNorm BranchwiseRMSNorm", MICROSOFT, **_NORMAL, weights=(1,))
_add("normalization", "QOrderedLayerNormalization", MICROSOFT, **_NORMAL, weights=(2, 3), scales=(1, 4))
_add(
    "normalization",
    "EmbedLayerNormalization",
    MICROSOFT,
    operations=scalar.each(9),
    weights=range(2, 7),
    settings=(0, 1, 7, 8),
    reads=memory.embeddings(2, 3, 4),
)
_add(
    "normalization",
    "QEmbedLayerNormalization",
    MICROSOFT,
    operations=scalar.each(9),
    weights=range(2, 7),
    settings=(0, 1, 7),
    scales=range(8, 18),
    reads=memory.embeddings(2, 3, 4),
)
_add("normalization", "Normalizer Scaler Imputer", ML, operations=scalar.each(2))
_add("quantize", "QuantizeLinear DequantizeLinear", operations=scalar.each(3), scales=(1, 2))
_add("quantize", "QuantizeLinear DequantizeLinear", MICROSOFT, operations=scalar.each(3), scales=(1, 2))
_add("quantize", "DynamicQuantizeLinear", operations=scalar.each_read(5))
_add(
    "other",
    "Sign Not IsInf IsNaN BitwiseNot And Or Xor BitwiseAnd BitwiseOr",
    **_ONE,
)
_add("other", "Mod BitShift", **_ONE, one_by_one=3)
_add("other", "BitwiseXor Equal Greater GreaterOrEqual Less LessOrEqual", **_ONE, settings=ALL)
_add("other", "Where", **_ONE, settings=(0,))
_add("other", "CumSum CumProd", **_ONE, settings=(1,))
_add("other", "RotaryEmbedding", operations=scalar.each(4), settings=(3,), buffers=(1, 2), reads=memory.rotary(1, 2, 3))
_add(
    "other",
    "RotaryEmbedding GemmaRotaryEmbedding MRotaryEmbedding",
    MICROSOFT,
    operations=scalar.each(4),
    settings=(1,),
    buffers=(2, 3),
    reads=memory.rotary(2, 3, 1),
)
_add("other", "Bernoulli Multinomial RandomNormal RandomNormalLike RandomUniform RandomUniformLike", **_ONE)
_add("other", "BlackmanWindow HammingWindow HannWindow MelWeightMatrix NegativeLogLikelihoodLoss", **_ONE)
_add("other", "SoftmaxCrossEntropyLoss", operations=scalar.each_read(5))
_add("other", "DFT STFT", operations=scalar.fourier, settings=(1, 2, 3))
_add("other", "Rfft Irfft", MICROSOFT, operations=scalar.fourier)
_add("other", "Det", operations=scalar.cubed)
_add("other", "Inverse", MICROSOFT, operations=scalar.cubed)
_add("add", "BiasAdd", MICROSOFT, operations=scalar.several, weights=(1,))
_add("add", "BiasDropout", MICROSOFT, operations=scalar.several, weights=(1,), settings=(3, 4))
_add("add", "QLinearAdd", MICROSOFT, operations=scalar.each(4), scales=(1, 2, 4, 5, 6, 7))
_add("multiply", "QLinearMul", MICROSOFT, operations=scalar.each(4), scales=(1, 2, 4, 5, 6, 7))
_add("multiply", "ComplexMul ComplexMulConj", MICROSOFT, operations=scalar.each(3))
_add("multiply", "MulInteger", MICROSOFT, **_ONE, scales=(1, 3))
_add("rectifier", "QLinearLeakyRelu", MICROSOFT, operations=scalar.each(4), scales=REST)
_add("smooth activation", "QLinearSigmoid", MICROSOFT, operations=scalar.each(6), scales=REST)
_add("softmax", "QLinearSoftmax", MICROSOFT, operations=scalar.each(8), scales=REST)
_add("other", "QLinearWhere", MICROSOFT, operations=scalar.each(4), scales=ALL)
_add("other", "Binarizer LabelEncoder CategoryMapper", ML, **_ONE)

# Movement of data.
_add("concatenate", "Concat ConcatFromSequence")
_add("concatenate", "QLinearConcat", MICROSOFT, operations=scalar.each(3), scales=ALL)
_add("concatenate", "FeatureVectorizer", ML)
_add("split", "Split SplitToSequence", settings=REST)
_add("transpose", "Transpose DepthToSpace SpaceToDepth")
_add("transpose", "ReorderInput ReorderOutput", "com.microsoft.nchwc")
_add("gather", "Gather GatherElements GatherND", settings=(1,), reads=memory.written())
_add("gather", "GatherND", MICROSOFT, settings=(1,), reads=memory.written())
_add("gather", "TorchEmbedding", MICROSOFT, settings=REST, reads=memory.written())
_add(
    "gather",
    "GatherBlockQuantized",
    MICROSOFT,
    operations=scalar.each(2),
    settings=(1,),
    scales=(2, 3),
    elements=memory.packed_table,
    reads=memory.packed_rows,
)
_add("gather", "RelativePositionBias", MICROSOFT, settings=(1, 2), weights=(0,), reads=memory.written())
_add(
    "multiply",
    "GatedRelativePositionBias",
    MICROSOFT,
    operations=scalar.each(2),
    weights=(1, 3, 4, 5),
    settings=(6,),
)
_add("gather", "ArrayFeatureExtractor", ML, settings=(1,), reads=memory.written())
_add("gather", "Compress", settings=(1,), reads=memory.written())
_add("gather", "Scatter ScatterElements ScatterND", settings=(1,))
_add("gather", "TensorScatter", settings=(2,), buffers=(0,))
_add("resize", "Resize Upsample", operations=scalar.interpolated, settings=REST, reads=memory.neighbours)
_add("resize", "GridSample", operations=scalar.interpolated, settings=(1,), reads=memory.neighbours)
_add(
    "resize",
    "GridSample",
    MICROSOFT,
    operations=scalar.interpolated,
    settings=(1,),
    reads=memory.neighbours,
)
_add("resize", "AffineGrid", operations=scalar.each(3), settings=(1,))
_add("resize", "CropAndResize", MICROSOFT, operations=scalar.interpolated, settings=REST)
_add("move", "Slice", settings=REST, reads=memory.written())
_add("move", "Pad Expand Tile Trilu ReverseSequence CenterCropPad OneHot Col2Im", settings=REST)
_add("move", "Trilu Pad UnfoldTensor", MICROSOFT, settings=REST)
_add("move", "Cast CastLike BitCast", settings=REST)
_add("move", "ConstantOfShape Range EyeLike", settings=ALL)
_add("move", "NonZero MaxUnpool ImageDecoder")
_add("move", "If Loop Scan SequenceMap")
_add("move", "RemovePadding RestorePadding", MICROSOFT, settings=REST)
_add("move", "OneHotEncoder CastMap DictVectorizer ZipMap", ML)
_add("move", "StringConcat StringNormalizer StringSplit RegexFullMatch TfIdfVectorizer")

# Pools and reductions.
_add("pool", "MaxPool AveragePool LpPool", operations=scalar.window)
_add("pool", "MaxRoiPool RoiAlign", operations=scalar.each(4), settings=REST)
_add("pool", "NhwcMaxPool", MICROSOFT, operations=scalar.window)
_add("pool", "MaxpoolWithMask", MICROSOFT, operations=scalar.window, settings=(1,))
_add("pool", "QLinearAveragePool", MICROSOFT, operations=scalar.window, scales=REST)
_add("global pool", "GlobalAveragePool GlobalMaxPool GlobalLpPool", operations=scalar.each_read())
_add("global pool", "QLinearGlobalAveragePool", MICROSOFT, operations=scalar.each_read(), scales=REST)
_REDUCE: dict[str, Any] = {"operations": scalar.each_read(), "settings": REST}
_add("reduction", "ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ArgMax ArgMin", **_REDUCE)
_add("reduction", "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare", **_REDUCE)
_add("reduction", "QLinearReduceMean ReduceSumInteger IsAllFinite", MICROSOFT, **_REDUCE)

# Views, which cost nothing.
_VIEW: dict[str, Any] = {"settings": REST, "reads": memory.nothing, "writes": memory.no_output}
_add("view", "Reshape Flatten Squeeze Unsqueeze Identity Dropout Shape Size Constant", **_VIEW)
_add("view", "SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength", **_VIEW)
_add("view", "Optional OptionalGetElement OptionalHasElement", **_VIEW)
_add("view", "ExpandDims", MICROSOFT, **_VIEW)

# Search.
_add("sort", "TopK Unique", operations=scalar.sorted_elements, settings=REST)
_add("sort", "Unique", MICROSOFT, operations=scalar.sorted_elements)
_add("sort", "NonMaxSuppression", operations=scalar.suppressed, settings=(2, 3, 4))
_add("trees", "TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor", ML, operations=trees.comparisons)
