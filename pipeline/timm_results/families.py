"""A model's family and pretraining data, from its name.

In 2022 the pretraining set was part of the model's name (`convnext_tiny_in22ft1k`), today it is in
the tag (`convnext_tiny.fb_in22k_ft_in1k`). The rules are ordered tables: the first pattern that
matches counts.
"""

import re
from collections.abc import Iterable, Sequence

Rules = Sequence[tuple[str, str]]

# Where a port or its training came from; it is not part of the architecture.
_ORIGIN = re.compile(r"(?:tf|tv|legacy|gluon|ssl|swsl|ig|(?:ens_)?adv|jx|dm)_")

MINIATURES = "test"  # the family of those that timm has for its own tests
FAMILIES: Rules = (  # matched at the start of the architecture, without its origin
    (MINIATURES, r"test_"),
    # convolutional networks of the transformer age
    ("convnextv2", r"convnextv2"),
    ("convnext", r"convnext"),
    ("inception_next", r"inception_next"),
    ("convformer", r"convformer"),
    ("convmixer", r"convmixer"),
    ("focalnet", r"focalnet"),
    ("hgnet", r"hgnet"),
    ("rdnet", r"rdnet"),
    ("starnet", r"starnet"),
    ("fasternet", r"fasternet"),
    ("edgenext", r"edgenext"),
    ("mambaout", r"mambaout"),
    # transformers and their hybrids with convolutions
    ("swinv2", r"swin(v2|_v2)"),
    ("swin", r"swin"),
    ("deit3", r"deit3"),
    ("deit", r"deit"),
    ("beitv2", r"beitv2"),
    ("beit3", r"beit3"),
    ("beit", r"beit"),
    ("eva02", r"eva02"),
    ("eva", r"eva"),
    ("tiny_vit", r"tiny_vit"),
    ("vitamin", r"vitamin"),
    ("aimv2", r"aimv2"),
    ("vit", r"(flexi|naflex|sam)?vit_"),
    ("hiera", r"(sam2_)?hiera"),
    ("maxvit", r"maxx?vit"),
    ("coatnet", r"coat(net|next)"),
    ("coat", r"coat"),
    ("caformer", r"caformer"),
    ("poolformer", r"poolformer"),
    ("levit", r"levit"),
    ("mobilevitv2", r"mobilevitv2"),
    ("mobilevit", r"(se)?mobilevit"),
    ("efficientformerv2", r"efficientformerv2"),
    ("efficientformer", r"efficientformer"),
    ("efficientvit", r"efficientvit"),
    ("fastvit", r"fastvit"),
    ("repvit", r"repvit"),
    ("nextvit", r"nextvit"),
    ("shvit", r"shvit"),
    ("swiftformer", r"swiftformer"),
    ("mvitv2", r"mvitv2"),
    ("pvt", r"pvt"),
    ("xcit", r"xcit"),
    ("cait", r"cait"),
    ("convit", r"convit"),
    ("crossvit", r"crossvit"),
    ("davit", r"davit"),
    ("gcvit", r"gcvit"),
    ("nest", r"nest"),
    ("pit", r"pit"),
    ("tnt", r"tnt"),
    ("twins", r"twins"),
    ("visformer", r"visformer"),
    ("volo", r"volo"),
    ("sequencer", r"sequencer"),
    ("mlp", r"mixer|resmlp|gmlp|gmixer"),
    # networks found by search, or small by design
    ("efficientnetv2", r"(gc_)?efficientnetv2"),
    ("efficientnet", r"efficientnet"),
    ("mobilenetv1", r"mobilenetv1"),
    ("mobilenetv2", r"mobilenetv2"),
    ("mobilenetv3", r"mobilenetv3"),
    ("mobilenetv4", r"mobilenetv4"),
    ("mobilenetv5", r"mobilenetv5"),
    ("mobilenet_edgetpu", r"mobilenet_edgetpu"),
    ("mobileone", r"mobileone"),
    ("mnasnet", r"(se)?mnasnet|spnasnet"),
    ("nasnet", r"p?nasnet"),
    ("fbnet", r"fbnet"),
    ("hardcorenas", r"hardcorenas"),
    ("tinynet", r"tinynet"),
    ("mixnet", r"mixnet"),
    ("lcnet", r"lcnet"),
    ("repghostnet", r"repghostnet"),
    ("ghostnet", r"ghostnet"),
    ("rexnet", r"rexnet"),
    ("selecsls", r"selecsls"),
    ("gernet", r"gernet"),
    # residual networks: attention in place of a convolution, then by block
    ("attention_resnet", r"(bat|lambda|lamhalobotnet|(eca_|se)?(halo|bot))"),
    ("nfnet", r"(eca_)?nfnet|nf_"),
    ("resnetv2", r"resnetv2"),
    ("resnetrs", r"resnetrs"),
    ("resnest", r"resnest"),
    ("res2net", r"res2ne[tx]"),
    ("resnext", r"(se|sk|gc|eca_?)?resnext"),
    ("senet", r"(se|sk|gc|eca_?)resnet|senet"),  # a resnet with channel attention
    ("tresnet", r"tresnet"),
    ("resnet", r"(wide_)?resnet"),
    ("regnetx", r"regnetx"),
    ("regnety", r"regnety"),
    ("regnetz", r"regnetz"),
    ("regnetv", r"regnetv"),
    # other convolutional families
    ("cspnet", r"cs3|csp|(se)?darknet"),
    ("hrnet", r"hrnet"),
    ("dla", r"dla"),
    ("dpn", r"dpn"),
    ("densenet", r"densenet"),
    ("vovnet", r"(ese_|eca_)?vovnet"),
    ("inception", r"inception"),
    ("xception", r"xception"),
    ("repvgg", r"repvgg"),
    ("vgg", r"vgg"),
)

# The largest collection of images the weights have seen, searched in the tag, or in a 2022 name.
PRETRAINING: Rules = (
    ("webli", r"webli"),
    ("dfn", r"(^|_)dfn"),
    ("datacomp", r"datacomp"),
    ("metaclip", r"metaclip"),
    ("laion", r"laion"),
    ("merged", r"merged2b|m3[08]m"),  # EVA's own mixtures
    ("openai", r"openai"),  # CLIP's 400 million pairs
    ("lvd1689m", r"lvd1689m|lvd_1689m"),
    ("sat493m", r"sat493m|sat_493m"),
    ("lvd142m", r"lvd142m"),
    ("jft", r"jft|_ns(_475)?$"),
    ("ig", r"ig1b|swag|seer|(^|_)(swsl|ig)_"),  # public Instagram pictures
    ("sa1b", r"sa1b|sa_1b"),
    ("yfcc", r"yfcc|cc12m|(^|_)ssl_"),
    ("in21k", r"inw?2[12]|22k"),  # in21k and in22k are two spellings of one set
    ("in12k", r"in12k"),
    ("in1k", r"in1k|(^|_)(dino|mae|fcmae|sam)$"),  # the last four without its labels
)

# Bare 2022 names whose weights saw ImageNet-21k although the name does not say so.
BARE_2022_IN21K = re.compile(
    r"vit_(?!.*(relpos|dino))|swin_(base|large)_patch4|beit_|resnetv2_\w+_bit(m|_teacher)"
    r"|tresnet_m$|\w+_miil$"
)


def arch_of(name: str) -> str:
    """`convnext_tiny` of `convnext_tiny.fb_in22k_ft_in1k`."""
    return name.partition(".")[0]


def tag_of(name: str) -> str:
    """`fb_in22k_ft_in1k` of `convnext_tiny.fb_in22k_ft_in1k`; "" where there is none."""
    return name.partition(".")[2]


def family(name: str) -> str:
    """The family of an `arch.tag`, an architecture or a 2022 name; "other" if no rule matches."""
    arch = _ORIGIN.sub("", arch_of(name), count=1) if _ORIGIN.match(name) else arch_of(name)
    return next((kind for kind, pattern in FAMILIES if re.match(pattern, arch)), "other")


def for_users(models: Iterable[str], pattern: str = "*") -> list[str]:
    """Of `models`, which a pattern matches, those that it stands for: all but timm's miniatures for
    its own tests (`test_vit`), unless it begins as their names do.
    """
    named = pattern.startswith("test_")
    return [model for model in models if named or family(model) != MINIATURES]


def pretraining(name: str) -> str:
    """The largest collection that the weights saw, by tag; a name without one is a 2022 name."""
    tag = tag_of(name)
    if not tag:
        stated = next((kind for kind, pattern in PRETRAINING if re.search(pattern, name)), "")
        return stated or ("in21k" if BARE_2022_IN21K.match(name) else "in1k")
    return next((kind for kind, pattern in PRETRAINING if re.search(pattern, tag)), "other")
