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

    hash: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = Field(
        None, description="As an answer about an earlier upload told it: SHA-256 of what was sent."
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
            "examples": [{"model": {"zoo": "resnet50", "size": 224}, "targets": ["cortexA76cpu"]}],
        }
    )
    targets: list[Name] | None = Field(None, min_length=1, description="As /v1/targets lists them; all by default.")
    measured: bool = Field(True, description="False to predict also what the store of measurements has.")


class Explaining(Inspecting):
    """Asks where the time goes on one target."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": {"zoo": "resnet50", "size": 224}, "target": "cortexA76cpu"}]}
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


class Choosing(Strict):
    """Asks which known network to take for a budget."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"target": "cortexA76cpu", "max_ms": 20.0}]})
    target: Name
    max_ms: Annotated[float, Field(gt=0)] | None = None


class Estimate(BaseModel):
    """Latency of one network on one target."""

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
    device: str = Field(description="What `target` was called.")


class Predicted(BaseModel):
    """Answer of /v1/predict."""

    model: str
    hash: str | None = Field(description="By which this upload can be asked about again; none for one of the zoo.")
    estimates: list[Estimate]
    notes: list[str] = Field(description="What is worth knowing of the file.")


class Compared(BaseModel):
    """Answer of /v1/compare: the networks in the order in which they were named."""

    models: list[Predicted]


class Input(BaseModel):
    """One input of a network."""

    shape: list[int]
    dtype: str


class OperatorCost(BaseModel):
    """What all nodes of one operator cost together."""

    count: int
    macs: int
    parameters: int
    activation_bytes: int


class Inspected(BaseModel):
    """Answer of /v1/inspect."""

    model: str
    hash: str | None
    network_hash: str = Field(description="Equal for the same network under other names; the store's key.")
    nodes: int
    batch_size: int
    inputs: dict[str, Input]
    macs: int
    flops: int
    parameters: int
    weight_bytes: int
    activation_bytes: int
    peak_bytes: int
    without_cost_rule: dict[str, int]
    operators: dict[str, OperatorCost]
    notes: list[str]


class NamedInput(Input):
    """One input of a network, and its name."""

    name: str


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
    hash: str | None
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
    held_out: dict[str, float]
    batch_sizes: list[int] = Field(description="Least and most of those that were measured.")


class Targets(BaseModel):
    """Answer of /v1/targets."""

    predictor: str
    targets: list[Target]


class ZooNetwork(BaseModel):
    """A network that is known already."""

    source: str
    zoo: str
    size: int | None


class Zoo(BaseModel):
    """Answer of /v1/zoo."""

    networks: list[ZooNetwork]


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
