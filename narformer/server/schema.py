"""What requests and answers hold, as OpenAPI documents it and as requests are checked."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, max_length=400)]
Size = Annotated[int, Field(ge=0, le=1 << 40)]
ShapeSize = Annotated[int, Field(ge=-1, le=1 << 40)]


class Strict(BaseModel):
    """A part of a request: a field that it does not know is a mistake, not ignored."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Known(Strict):
    """A network that needs no upload: one sent before, by its hash, or one of the zoo, by its name."""

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["hash"],
                    "properties": {
                        "hash": {"type": "string"},
                        "zoo": {"type": "null"},
                    },
                },
                {"required": ["zoo"], "properties": {"zoo": {"type": "string"}, "hash": {"type": "null"}}},
            ]
        }
    )

    hash: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = Field(
        None, description="SHA-256 of what was sent, as answers about it told it (`upload`)."
    )
    zoo: Name | None = Field(None, description="Name of a network that /v1/zoo lists.")
    size: Annotated[int, Field(ge=1, le=1 << 20)] | None = Field(
        None, description="Size of its square image, where the zoo has it at several."
    )
    source: Name | None = Field(None, description="The list that has it (timm, qai_hub), where two have that name.")


class Sized(Strict):
    """Sizes of the inputs, bound or replaced."""

    batch_size: Annotated[int, Field(ge=1, le=1 << 40)] | None = Field(
        None, description="Replaces the first dimension of every input."
    )
    input_shapes: dict[str, list[ShapeSize | Name]] = Field(
        default_factory=dict,
        max_length=1000,
        description='Whole shapes by input, "" for the only one; -1 for the size in the file.',
    )
    dims: dict[Name, Size] = Field(
        default_factory=dict, max_length=1000, description="Sizes by the names that the file gives them."
    )


class Inspecting(Sized):
    """Asks what a network costs."""

    model: Known | None = Field(None, description="Left out where the network is uploaded.")


class Predicting(Inspecting):
    """Asks for latencies of one network."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"model": {"zoo": "resnet50", "size": 224}, "targets": ["cortex-a76"]}],
        }
    )
    targets: list[Name] | None = Field(None, min_length=1, description="As /v1/targets lists them; all by default.")
    measured: bool = Field(True, description="False to predict also what the store of measurements has.")


class Explaining(Inspecting):
    """Asks where the time goes on one target."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": {"zoo": "resnet50", "size": 224}, "target": "cortex-a76"}]}
    )
    target: Name | None = Field(None, description="As /v1/targets lists them; the first by default.")


class Comparing(Sized):
    """Asks for latencies of several networks."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"models": [{"zoo": "resnet18", "size": 224}, {"zoo": "resnet50", "size": 224}]}]
        }
    )
    models: list[Known] = Field(default_factory=list, description="Uploaded ones come after these.")
    targets: list[Name] | None = Field(None, min_length=1, description="As /v1/targets lists them; all by default.")
    measured: bool = Field(True, description="False to predict also what the store of measurements has.")


class Choosing(Inspecting):
    """Asks which pretrained networks to take on a target, and where another one stands among them."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"target": "cortex-a76", "max_ms": 20.0}]})
    target: Name = Field(description="As /v1/targets lists them under `choosable`.")
    max_ms: Annotated[float, Field(ge=0)] | None = Field(None, description="Only networks that take no longer.")
    top1: Annotated[float, Field(ge=0, le=100)] | None = Field(
        None, description="Only networks of at least this ImageNet accuracy, in percent."
    )
    every: bool = Field(False, description="True for those too that another surpasses in both.")


class Estimate(BaseModel):
    """Latency of one network on one target."""

    hash: str = Field(description="Of the network, equal for the same one under other names.")
    model: str
    target: str
    batch_size: int | None
    latency_ms: float
    low_ms: float
    high_ms: float
    throughput: float | None = Field(description="Inputs a second.")
    source: str = Field(description="predicted, measured or adapted")
    level: float = Field(description="The share of networks for which the interval holds the truth.")
    held_out_mape: float | None = Field(description="Error on held-out networks of this target, in percent.")
    warnings: list[str]
    extrapolated: bool = Field(description="Whether nothing of about this batch size was measured on the target.")
    device: str = Field(description="What `target` was called.")


class Predicted(BaseModel):
    """Answer of /v1/predict."""

    model: str
    upload: str | None = Field(description="By which this upload can be asked about again; none for one of the zoo.")
    estimates: list[Estimate]
    notes: list[str] = Field(description="What is worth knowing of the file.")


class Compared(BaseModel):
    """Answer of /v1/compare: the networks in the order in which they were named."""

    models: list[Predicted]


class OperatorCost(BaseModel):
    """What all nodes of one operator cost together."""

    count: int
    macs: int
    operations: int
    parameters: int
    activation_bytes: int
    weight_bytes: int


class Heavy(BaseModel):
    """One of the nodes with most MACs."""

    node: str
    operator: str
    kind: str
    shape: list[int]
    macs: int
    parameters: int


class Inspected(BaseModel):
    """Answer of /v1/inspect."""

    model: str
    upload: str | None
    hash: str = Field(description="Of the network, equal for the same one under other names.")
    nodes: int
    batch_size: int
    inputs: dict[str, list[int]]
    dtypes: dict[str, str] = Field(description="Of the inputs.")
    macs: int
    flops: int
    operations: int
    parameters: int
    weight_bytes: int
    activation_bytes: int
    peak_bytes: int
    without_cost_rule: dict[str, int]
    operators: dict[str, OperatorCost]
    heaviest: list[Heavy]
    notes: list[str]


class NamedInput(BaseModel):
    """One input of a network."""

    name: str
    shape: list[int]
    dtype: str


class ExplainedNode(BaseModel):
    """One node of the network as a runtime runs it. reads: numbers of nodes; -1, -2, … for inputs."""

    name: str
    operator: str
    kind: str
    ms: float
    shape: list[int]
    dtype: str
    macs: int
    parameters: int
    activation_bytes: int
    takes_in: int = Field(description="How many other nodes of the file run within this one.")
    reads: list[int]


class Explained(BaseModel):
    """Answer of /v1/explain: the parts sum to the whole."""

    model: str
    upload: str | None
    target: str
    latency_ms: float
    batch_size: int
    inputs: list[NamedInput]
    nodes: list[ExplainedNode]
    notes: list[str]


class Target(BaseModel):
    """What can be predicted."""

    target: str
    title: str = Field(description="The hardware, for people.")
    description: str
    groups: list[str] = Field(description="Its kind, maker, runtime and precision, where these are known.")
    source: str = Field(description="predicted or adapted")
    headline: bool = Field(description="Whether it is one of about a dozen that stand for all.")
    held_out: dict[str, float]
    batch_sizes: list[int] = Field(description="Least and most of those that were measured.")


class Targets(BaseModel):
    """Answer of /v1/targets."""

    predictor: str
    targets: list[Target]
    choosable: list[str] = Field(description="On which /v1/choose knows pretrained networks.")


class ZooNetwork(BaseModel):
    """A network that is known already."""

    source: str
    zoo: str
    size: int | None


class Zoo(BaseModel):
    """Answer of /v1/zoo."""

    networks: list[ZooNetwork]


class Chosen(BaseModel):
    """A pretrained network and its latency on a target."""

    rank: int
    network: str = Field(description="As timm.create_model takes it.")
    img_size: int | None
    top1: float | None = Field(description="ImageNet accuracy in percent.")
    top5: float | None
    parameters_millions: float | None
    target: str
    batch_size: int
    latency_ms: float
    low_ms: float
    high_ms: float
    throughput: float | None
    source: str
    warnings: list[str]
    frontier: bool = Field(description="Whether no other within the limits is faster and as accurate.")


class Choices(BaseModel):
    """Answer of /v1/choose, the most accurate first."""

    target: str
    batch_size: int
    choices: list[Chosen]
    left_out: int = Field(description="Weights whose networks the zoo lacks.")
    mine: Estimate | None = Field(description="The network that was asked about.")


class Health(BaseModel):
    """Answer of /healthz."""

    status: str
    version: str
    workers: int


class Problem(BaseModel):
    """What went wrong. type: the name of the package's exception, where it has one."""

    type: str
    message: str
    bind: dict[str, Any] | None = Field(None, description="Sizes that would bind what is open, as an example.")


class Failure(BaseModel):
    """Any answer but 200."""

    error: Problem
