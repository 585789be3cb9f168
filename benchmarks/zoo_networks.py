"""Networks of Qualcomm AI Hub's table that public packages build, or that are written here, without weights.

NETWORKS maps the table's name of a network, with the component behind a colon where it has several, to a function that
gives a module, its example inputs and further arguments by name. Which class and input sizes each entry has is told by
the package qai-hub-models 0.65.0; nothing of it is needed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import timm
import torch
import torchvision.models as vision
import transformers as hf
from torch import Tensor, nn
from zoo_detection import FreeOfAnchors, GroupUpscaler, SingleShot, TextRegions
from zoo_faces import (
    FaceNumbers,
    FacePoints,
    FaceShape,
    HeadPose,
    PosePoints,
    blaze_face,
    blaze_pose,
    face_detector,
    foot_tracker,
)
from zoo_modules import (
    Bottlenecks,
    CachedDecoder,
    Classes,
    DarkNet,
    DeepLabPlus,
    Denoiser,
    DenseUpscaler,
    FramesInPairs,
    HighResolution,
    KeyPoints,
    KeysOfDecoder,
    LinearBlocks,
    Only,
    PixelUpscaler,
    PoseHeads,
    ResidualUpscaler,
    Salient,
    SamePerson,
    SoundEvents,
    UNet,
)
from zoo_segmentation import DeepLabXception, FaceMaps, Pyramid, ffnet, narrow_ffnet

Made = tuple[nn.Module, tuple[Tensor, ...], dict[str, Any]]


def image(*size: int, channels: int = 3) -> tuple[Tensor, ...]:
    height, width = size if len(size) == 2 else (size[0], size[0])
    return (torch.zeros(1, channels, height, width),)


def tokens(length: int) -> Tensor:
    return torch.zeros(1, length, dtype=torch.int32)


def seen(name: str, size: int = 224, **options: Any) -> Callable[[], Made]:
    """A classifier of torchvision."""
    return lambda: (getattr(vision, name)(weights=None, **options), image(size), {})


def timed(name: str, size: int = 224) -> Callable[[], Made]:
    """A classifier of timm."""
    return lambda: (timm.create_model(name, pretrained=False), image(size), {})


def video(name: str) -> Callable[[], Made]:
    return lambda: (getattr(vision.video, name)(weights=None), (torch.zeros(1, 3, 16, 112, 112),), {})


def text(model: str, config: str, length: int, **options: Any) -> Callable[[], Made]:
    """An encoder of text, with a mask."""

    def make() -> Made:
        module = getattr(hf, model)(getattr(hf, config)(**options))
        return Only(module), (), {"input_ids": tokens(length), "attention_mask": tokens(length)}

    return make


def pixels(model: str, config: str, *size: int, **options: Any) -> Callable[[], Made]:
    """A network of transformers that reads images."""

    def make() -> Made:
        return Only(getattr(hf, model)(getattr(hf, config)(**options))), (), {"pixel_values": image(*size)[0]}

    return make


def words(model: str, config: str, length: int, **options: Any) -> Callable[[], Made]:
    """An encoder of the names of COCO's 80 classes."""

    def make() -> Made:
        module = getattr(hf, model)(getattr(hf, config)(**options))
        ids = tokens(length).long().repeat(80, 1)
        return Only(module), (), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    return make


def clip() -> Made:
    """An image and five captions."""
    config = hf.CLIPConfig(vision_config={"patch_size": 16})
    return Only(hf.CLIPModel(config)), (), {"pixel_values": image(224)[0], "input_ids": tokens(77).long().expand(5, 77)}


def owl() -> Made:
    inputs = {"pixel_values": image(768)[0], "input_ids": tokens(16).long(), "attention_mask": tokens(16)}
    return Only(hf.OwlViTForObjectDetection(hf.OwlViTConfig())), (), inputs


def siglip(part: str) -> Callable[[], Made]:
    def make() -> Made:
        if part == "image":
            module = hf.SiglipVisionModel(hf.SiglipVisionConfig(image_size=224, patch_size=16))
            return Only(module), (), {"pixel_values": image(224)[0]}
        config = hf.SiglipTextConfig(vocab_size=256000, max_position_embeddings=64)
        return Only(hf.SiglipTextModel(config)), (), {"input_ids": tokens(64).long()}

    return make


def detr(depth: int, dilated: bool, conditional: bool = False) -> Callable[[], Made]:
    def make() -> Made:
        kind = "ConditionalDetr" if conditional else "Detr"
        config = getattr(hf, f"{kind}Config")(
            backbone=f"resnet{depth}",
            use_timm_backbone=True,
            use_pretrained_backbone=False,
            dilation=dilated,
            backbone_config=None,
            num_labels=91,
        )
        return Only(getattr(hf, f"{kind}ForObjectDetection")(config)), (), {"pixel_values": image(640)[0]}

    return make


def depth() -> Made:
    backbone = hf.Dinov2Config(
        hidden_size=384,
        num_attention_heads=6,
        image_size=518,
        patch_size=14,
        out_features=["stage3", "stage6", "stage9", "stage12"],
        reshape_hidden_states=False,
    )
    config = hf.DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=384,
        neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64,
    )
    return Only(hf.DepthAnythingForDepthEstimation(config)), (), {"pixel_values": image(518)[0]}


def masks() -> Made:
    config = hf.Mask2FormerConfig(backbone_config=hf.SwinConfig(out_features=["stage1", "stage2", "stage3", "stage4"]))
    config.num_labels = 133
    return Only(hf.Mask2FormerForUniversalSegmentation(config)), (), {"pixel_values": image(384)[0]}


def clips() -> Made:
    return (
        Only(hf.VideoMAEForVideoClassification(hf.VideoMAEConfig(num_labels=400))),
        (),
        {"pixel_values": torch.zeros(1, 16, 3, 224, 224)},
    )


def frames() -> Made:
    config = hf.VJEPA2Config()
    encoder = hf.models.vjepa2.modeling_vjepa2.VJEPA2Encoder(config)
    encoder.embeddings = FramesInPairs(16, config.hidden_size)
    return Only(encoder), (torch.zeros(1, 3, FRAMES, 256, 256),), {}


def speech() -> Made:
    config = hf.Wav2Vec2ConformerConfig(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        feat_extract_norm="layer",
        conv_bias=True,
        position_embeddings_type="relative",
        vocab_size=32,
    )
    return Only(hf.Wav2Vec2ConformerForCTC(config)), (), {"input_values": torch.zeros(1, 160000)}


def whisper(part: str, width: int, heads: int, depth: int, layers: int, mels: int = 80) -> Callable[[], Made]:
    """30 s of speech; one step of decoding after 199, with the caches that the steps before have left."""

    def make() -> Made:
        if part == "decoder":
            decoder = CachedDecoder(width, heads, 4 * width, layers, 51866 if mels == 128 else 51865)
            return decoder, decoder.step(past=199, source=1500), {}
        config = hf.WhisperConfig(
            d_model=width,
            encoder_layers=depth,
            encoder_attention_heads=heads,
            encoder_ffn_dim=4 * width,
            num_mel_bins=mels,
        )
        encoder = hf.models.whisper.modeling_whisper.WhisperEncoder(config)
        return KeysOfDecoder(encoder, width, layers), (torch.zeros(1, mels, 3000),), {}

    return make


def translation(part: str) -> Callable[[], Made]:
    """Marian: 256 tokens; one step of decoding after 255."""

    def make() -> Made:
        if part == "decoder":
            decoder = CachedDecoder(512, 8, 2048, 6, 58101, norm_first=False, activation="silu")
            return decoder, decoder.step(past=255, source=256), {}
        config = hf.MarianConfig(
            vocab_size=58101,
            d_model=512,
            encoder_layers=6,
            encoder_attention_heads=8,
            encoder_ffn_dim=2048,
            max_position_embeddings=512,
            pad_token_id=58100,
            activation_function="swish",
            scale_embedding=True,
        )
        encoder = hf.models.marian.modeling_marian.MarianEncoder(config)
        return KeysOfDecoder(encoder, 512, 6), (tokens(256).long(), tokens(256)), {}

    return make


def handwriting(part: str) -> Callable[[], Made]:
    """TrOCR, small: an image transformer of 384 pixels; one step of decoding after 19."""

    def make() -> Made:
        if part == "decoder":
            decoder = CachedDecoder(256, 8, 1024, 6, 64044, source_width=384, norm_first=False)
            return decoder, decoder.step(past=19, source=578), {}
        config = hf.DeiTConfig(hidden_size=384, num_attention_heads=6, intermediate_size=1536, image_size=384)
        return KeysOfDecoder(hf.DeiTModel(config, add_pooling_layer=False), 384, 6, 256), image(384), {}

    return make


FRAMES = 8
LANGUAGES = ("de_en", "en_de", "en_es", "en_fr", "en_it", "en_ja", "en_zh", "es_en", "fr_en", "it_en", "ko_en", "zh_en")
NETWORKS: Mapping[str, Callable[[], Made]] = {
    "densenet121": seen("densenet121"),
    "efficientnet_b0": seen("efficientnet_b0"),
    "efficientnet_b4": seen("efficientnet_b4", 380),
    "efficientnet_v2_s": seen("efficientnet_v2_s", 384),
    "convnext_base": seen("convnext_base"),
    "convnext_tiny": seen("convnext_tiny"),
    "googlenet": seen("googlenet", aux_logits=False, init_weights=False),
    "inception_v3": seen("inception_v3", 299, init_weights=False),
    "mnasnet05": seen("mnasnet0_5"),
    "mobilenet_v2": seen("mobilenet_v2"),
    "regnet": seen("regnet_x_3_2gf"),
    "regnet_y_800mf": seen("regnet_y_800mf"),
    "resnet18": seen("resnet18"),
    "resnet50": seen("resnet50"),
    "resnext101": seen("resnext101_32x8d"),
    "resnext50": seen("resnext50_32x4d"),
    "wideresnet50": seen("wide_resnet50_2"),
    "shufflenet_v2": seen("shufflenet_v2_x0_5"),
    "squeezenet1_1": seen("squeezenet1_1"),
    "swin_base": seen("swin_b"),
    "swin_tiny": seen("swin_t"),
    "vit": seen("vit_b_16"),
    "resnet_2plus1d": video("r2plus1d_18"),
    "resnet_3d": video("r3d_18"),
    "resnet_mixed": video("mc3_18"),
    "fcn_resnet50": lambda: (
        Classes(Only(vision.segmentation.fcn_resnet50(weights=None, weights_backbone=None), "out")),
        image(520),
        {},
    ),
    "convnext_v2_base": timed("convnextv2_base"),
    "beit": timed("beit_base_patch16_224"),
    "levit": timed("levit_128s"),
    "dla102x": timed("dla102x"),
    "nasnet": timed("nasnetalarge", 331),
    "inception_v4": timed("inception_v4", 299),
    "efficientformer": timed("efficientformer_l1"),
    "efficientvit_b2_cls": timed("efficientvit_b2"),
    "efficientvit_l2_cls": timed("efficientvit_l2", 384),
    "sequencer2d": timed("sequencer2d_s"),
    "mobile_vit": timed("mobilevit_s", 256),
    "mobilenet_v4": timed("mobilenetv4_conv_medium"),
    "efficientnet_lite4": timed("efficientnet_lite4", 300),
    "albert_base_v2_hf": text(
        "AlbertForMaskedLM", "AlbertConfig", 384, hidden_size=768, num_attention_heads=12, intermediate_size=3072
    ),
    "bert_base_uncased_hf": text("BertForMaskedLM", "BertConfig", 384),
    "distil_bert_base_uncased_hf": text("DistilBertForMaskedLM", "DistilBertConfig", 384),
    "electra_bert_base_discrim_google": text(
        "ElectraForPreTraining",
        "ElectraConfig",
        384,
        embedding_size=768,
        hidden_size=768,
        num_attention_heads=12,
        intermediate_size=3072,
    ),
    "minilm_v2": text(
        "BertModel",
        "BertConfig",
        128,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    ),
    "mobile_bert_uncased_google": text("MobileBertForMaskedLM", "MobileBertConfig", 384),
    "yolo_world:text_encoder": words("CLIPTextModelWithProjection", "CLIPTextConfig", 77),
    "wedetect:text_encoder": words("XLMRobertaModel", "XLMRobertaConfig", 16, vocab_size=250002, type_vocab_size=1),
    "openai_clip": clip,
    "owl_vit": owl,
    "siglip2:image_encoder": siglip("image"),
    "siglip2:text_encoder": siglip("text"),
    "detr_resnet50": detr(50, False),
    "detr_resnet50_dc5": detr(50, True),
    "detr_resnet101": detr(101, False),
    "detr_resnet101_dc5": detr(101, True),
    "conditional_detr_resnet50": detr(50, False, conditional=True),
    "depth_anything": depth,
    "depth_anything_v2": depth,
    "segformer_base": pixels("SegformerForSemanticSegmentation", "SegformerConfig", 512, num_labels=150),
    "mask2former": masks,
    "video_mae": clips,
    "wav2vec2_conformer": speech,
    **{f"opus_mt_{pair}:{part}": translation(part) for pair in LANGUAGES for part in ("encoder", "decoder")},
    **{f"whisper_base:{part}": whisper(part, 512, 8, 6, 6) for part in ("encoder", "decoder")},
    **{f"whisper_small_quantized:{part}": whisper(part, 768, 12, 12, 12) for part in ("encoder", "decoder")},
    **{f"whisper_medium_quantized:{part}": whisper(part, 1024, 16, 24, 24) for part in ("encoder", "decoder")},
    **{f"whisper_large_v3_turbo:{part}": whisper(part, 1280, 20, 32, 4, 128) for part in ("encoder", "decoder")},
    **{f"whisper_large_v3_turbo_quantized:{p}": whisper(p, 1280, 20, 32, 4, 128) for p in ("encoder", "decoder")},
    **{f"distil_whisper:{part}": whisper(part, 768, 12, 12, 4) for part in ("encoder", "decoder")},
    **{f"trocr:{part}": handwriting(part) for part in ("encoder", "decoder")},
    "quicksrnetsmall": lambda: (PixelUpscaler(32, 2), image(128), {}),
    "quicksrnetmedium": lambda: (PixelUpscaler(32, 5), image(128), {}),
    "quicksrnetlarge": lambda: (PixelUpscaler(64, 11, residual=True), image(128), {}),
    "sesr_m5": lambda: (LinearBlocks(16, 5), image(128), {}),
    "esrgan": lambda: (DenseUpscaler(23), image(128), {}),
    "real_esrgan_x4plus": lambda: (DenseUpscaler(23), image(128), {}),
    "srgan": lambda: (ResidualUpscaler(16), image(128), {}),
    "unet_segmentation": lambda: (UNet(), image(640, 1280), {}),
    "nafnet_denoise": lambda: (Denoiser(64, (2, 2, 4, 8), 12, (2, 2, 2, 2)), image(256), {}),
    "nafnet_deblur": lambda: (Denoiser(64, (1, 1, 1, 28), 1, (1, 1, 1, 1)), image(360, 640), {}),
    "posenet_mobilenet": lambda: (PoseHeads(), image(513, 257), {}),
    "superpoint": lambda: (KeyPoints(), image(480, 640) + image(480, 640), {}),
    "mobile_facenet": lambda: (Bottlenecks(), image(112) + image(112), {}),
    "deeplabv3_plus_mobilenet": lambda: (Classes(DeepLabPlus()), image(520), {}),
    "yolov3": lambda: (DarkNet(), image(640), {}),
    "hrnet_pose": lambda: (HighResolution(timm.create_model("hrnet_w32", pretrained=False)), image(256, 192), {}),
    "osnet": lambda: (SamePerson(), image(256, 128), {}),
    "u2net_segmentation": lambda: (Salient(), image(320), {}),
    "nomic_embed_text": text("NomicBertModel", "NomicBertConfig", 128),
    "sam2:encoder": pixels("Sam2VisionModel", "Sam2VisionConfig", 1024),
    "vjepa2": frames,
    "ffnet_40s": lambda: (ffnet((4, 5, 6, 4)), image(1024, 2048), {}),
    "ffnet_54s": lambda: (ffnet((5, 8, 8, 5)), image(1024, 2048), {}),
    "ffnet_78s": lambda: (ffnet((6, 12, 12, 8)), image(1024, 2048), {}),
    "ffnet_78s_lowres": lambda: (ffnet((6, 12, 12, 8), deep=False), image(512, 1024), {}),
    "ffnet_122ns_lowres": lambda: (narrow_ffnet(), image(512, 1024), {}),
    "pspnet": lambda: (Pyramid(), image(473), {}),
    "deeplab_xception": lambda: (Classes(DeepLabXception()), image(480, 520), {}),
    "hrnet_face": lambda: (FaceMaps(timm.create_model("hrnet_w18", pretrained=False)), image(256), {}),
    "mediapipe_face:face_detector": lambda: (blaze_face(), image(256), {}),
    "mediapipe_face:face_landmark_detector": lambda: (FacePoints(), image(192), {}),
    "mediapipe_pose:pose_detector": lambda: (blaze_pose(), image(128), {}),
    "mediapipe_pose:pose_landmark_detector": lambda: (PosePoints(), image(256), {}),
    "face_det_lite": lambda: (face_detector(), image(480, 640, channels=1), {}),
    "foot_track_net": lambda: (foot_tracker(), image(480, 640), {}),
    "cavaface": lambda: (FaceNumbers(), image(112), {}),
    "facemap_3dmm": lambda: (FaceShape(), image(128), {}),
    "sixd_repnet:pose_estimator": lambda: (HeadPose(), image(224), {}),
    "yolox": lambda: (FreeOfAnchors(), image(640), {}),
    "resnet34_ssd1200": lambda: (SingleShot(), image(1200), {}),
    "easyocr:detector": lambda: (TextRegions(), image(608, 800), {}),
    "xlsr": lambda: (GroupUpscaler(), image(128), {}),
    "yamnet": lambda: (SoundEvents(), image(96, 64, channels=1), {}),
}
