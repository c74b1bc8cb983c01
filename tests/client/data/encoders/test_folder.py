"""What an encoder's folder may hold: a closed list, and no way to run code from it."""

import hashlib
import json
import re
import shutil
import struct

import pytest

from client.data.encoders.folder import look_through, only_its_files
from common.errors import ConfigError


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_every_file_is_hashed_and_the_card_names_the_licence(copied):
    found = look_through(copied("wavlm"))
    assert list(found.files) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    assert list(found.papers) == ["README.md"]
    for name, digest in found.files.items():
        assert digest == hashlib.sha256((found.path / name).read_bytes()).hexdigest()
    assert found.licence == "mit"
    assert found.parameters > 1000


def test_the_hash_is_that_of_the_list_that_sha256sum_prints(copied):
    found = look_through(copied("wavlm"))
    listed = "".join(f"{digest}  {name}\n" for name, digest in sorted(found.files.items()))
    lines = "".join(f"{found.files[name]}  {name}\n" for name in sorted(found.files))
    assert listed == lines
    assert found.sha256 == hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_any_change_of_a_file_that_matters_changes_the_hash(copied, name):
    path = copied("wavlm")
    before = look_through(path).sha256
    data = (path / name).read_bytes()
    (path / name).write_bytes(data + b" " if name.endswith("json") else data[:-1] + b"\7")
    assert look_through(path).sha256 != before


def test_the_card_changes_no_hash_and_hidden_files_are_no_business_of_ours(copied):
    path = copied("wavlm")
    before = look_through(path).sha256
    (path / "README.md").write_text("other words")
    (path / ".cache").mkdir()
    (path / ".cache" / "download.py").write_text("raise SystemExit")
    (path / ".gitattributes").write_text("*.bin lfs")
    assert look_through(path).sha256 == before


@pytest.mark.parametrize(
    ("card", "given", "licence"),
    [
        ("---\nlicense: cc-by-nc-4.0\n---\n", "", "cc-by-nc-4.0"),
        ("---\nlicense: mit\n---\n", "bought", "bought"),
        ("---\nlicense: [a, b]\n---\n", "", "unknown"),
        ("---\n: : [\n---\n", "", "unknown"),
        ("# no front matter", "", "unknown"),
        (None, "", "unknown"),
    ],
)
def test_the_licence_is_the_sites_word_then_the_cards_then_unknown(copied, card, given, licence):
    path = copied("wavlm")
    if card is None:
        (path / "README.md").unlink()
    else:
        (path / "README.md").write_text(card)
    assert look_through(path, given).licence == licence


def bad_pickled_weights(path):
    (path / "pytorch_model.bin").write_bytes(b"\x80\x02.")


def bad_pickled_weights_below(path):
    (path / "onnx").mkdir()
    (path / "onnx" / "model.onnx").write_bytes(b"x")


def bad_code(path):
    (path / "modeling_own.py").write_text("raise SystemExit")


def bad_auto_map(path):
    edit(path / "config.json", auto_map={"AutoModel": "modeling_own.Own"})


def bad_auto_map_inside(path):
    edit(path / "config.json", text_config={"auto_map": {"AutoModel": "x--y.Own"}})


def bad_auto_map_of_the_processor(path):
    edit(path / "preprocessor_config.json", auto_map={"AutoFeatureExtractor": "own.Own"})


def bad_weights_of_another_name(path):
    (path / ".hidden").mkdir()
    shutil.copy(path / "model.safetensors", path / ".hidden")
    edit(path / "config.json", transformers_weights=".hidden/model.safetensors")


def bad_tokenizer_of_another_name(path):
    (path / "tokenizer_config.json").write_text('{"fast_tokenizer_files": ["../t.4.0.0.json"]}')


def bad_configuration_of_another_name(path):
    edit(path / "config.json", configuration_files=["config.4.0.0.json"])


def bad_second_configuration(path):
    (path / "config.4.0.0.json").write_text('{"auto_map": {"AutoModel": "own.Own"}}')


def bad_weights_that_look_like_a_paper(path):
    (path / "notice.safetensors").write_bytes(b"x")


def bad_quantised(path):
    edit(path / "config.json", quantization_config={"quant_method": "gptq"})


def bad_attention_from_the_hub(path):
    edit(path / "config.json", _attn_implementation="kernels-community/flash-attn")


def bad_adapter(path):
    (path / "adapter_config.json").write_text("{}")


def bad_link_out(path):
    outside = path.parent.parent / "secret.json"
    outside.write_text("{}")
    (path / "vocab.json").symlink_to(outside)


def bad_folder_link_out(path):
    (path / "more").symlink_to(path.parent.parent)


def bad_truncated(path):
    data = (path / "model.safetensors").read_bytes()
    (path / "model.safetensors").write_bytes(data[: len(data) // 2])


def bad_huge_tensors(path):
    shape = {"w": {"dtype": "F32", "shape": [1 << 40, 1 << 20], "data_offsets": [0, 1 << 62]}}
    header = json.dumps(shape).encode()
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 64)


def bad_header_length(path):
    (path / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 62) + b"{}")


def bad_huge_layers(path):
    edit(path / "config.json", num_hidden_layers=10**9)


def bad_huge_width(path):
    edit(path / "config.json", hidden_size=1 << 40)


def bad_huge_padding(path):
    edit(path / "preprocessor_config.json", chunk_length=10**9)


def bad_no_config(path):
    (path / "config.json").unlink()


def bad_no_weights(path):
    (path / "model.safetensors").unlink()


def bad_empty_weights(path):
    (path / "model.safetensors").write_bytes(b"")


def bad_json(path):
    (path / "config.json").write_text("{not json")


def bad_nested_json(path):
    (path / "config.json").write_text("[" * 100_000)


def bad_unknown_file(path):
    (path / "weights.dat").write_bytes(b"x")


def bad_index(path):
    (path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"w": "../elsewhere.safetensors"}})
    )


BAD = {
    bad_pickled_weights: "weights are read from .safetensors files alone",
    bad_pickled_weights_below: "weights are read from .safetensors files alone",
    bad_code: "holds no code",
    bad_auto_map: "auto_map names code to run",
    bad_auto_map_inside: "auto_map names code to run",
    bad_auto_map_of_the_processor: "auto_map names code to run",
    bad_weights_of_another_name: "transformers_weights names weights of another name",
    bad_tokenizer_of_another_name: "fast_tokenizer_files names tokenizers of another name",
    bad_configuration_of_another_name: "configuration_files names configurations of another name",
    bad_second_configuration: "auto_map names code to run",
    bad_weights_that_look_like_a_paper: "damaged weights",
    bad_quantised: "quantization_config asks for another library",
    bad_attention_from_the_hub: "_attn_implementation asks for another library",
    bad_adapter: "adapters are not read",
    bad_link_out: "leads out of the folder",
    bad_folder_link_out: "leads out of the folder",
    bad_truncated: "damaged weights",
    bad_huge_tensors: "damaged weights",
    bad_header_length: "damaged weights",
    bad_empty_weights: "the file is empty",
    bad_huge_layers: "num_hidden_layers is 1000000000",
    bad_huge_width: "hidden_size is 1099511627776",
    bad_huge_padding: "chunk_length is 1000000000",
    bad_no_config: "expected config.json",
    bad_no_weights: "expected weights",
    bad_json: "not a JSON file",
    bad_nested_json: "not a JSON file",
    bad_unknown_file: "expected files of",
    bad_index: "lists weights that are not in the folder",
}


@pytest.mark.parametrize(("spoil", "said"), BAD.items(), ids=[made.__name__ for made in BAD])
def test_a_bad_folder_is_refused_for_what_is_bad_in_it(copied, spoil, said):
    path = copied("wavlm")
    spoil(path)
    with pytest.raises(ConfigError, match=rf"wavlm.*{re.escape(said)}"):
        look_through(path)


def test_every_bad_folder_is_tried():
    assert {made.__name__ for made in BAD} == {n for n in globals() if n.startswith("bad_")}


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is none"):
        look_through(tmp_path / "nothing")


def test_a_link_inside_the_folder_is_a_file_like_others(copied):
    path = copied("wavlm")
    (path / "vocab.json").symlink_to(path / "config.json")
    assert "vocab.json" in look_through(path).files


def test_what_is_loaded_is_a_copy_of_what_was_looked_through_and_nothing_else(copied):
    path = copied("wavlm")
    found = look_through(path)
    (path / ".hidden.safetensors").write_bytes(b"x")
    with only_its_files(found) as place:
        assert sorted(file.name for file in place.iterdir()) == list(found.files)
        assert place.stat().st_mode & 0o777 == 0o700
    assert not place.exists()


def test_a_file_that_changed_since_is_not_loaded(copied):
    path = copied("wavlm")
    found = look_through(path)
    edit(path / "config.json", hidden_act="relu")
    with pytest.raises(ConfigError, match=r"config.json has changed"), only_its_files(found):
        pass
