import os
import struct
import tracemalloc
import zipfile

import numpy as np
import pandas as pd
import pytest
import soundfile as sf
from hypothesis import given, settings
from hypothesis import strategies as st

from client.data.readers.arrays import read_npy, read_npz
from client.data.readers.audio import audio_files, read_audio
from client.data.readers.files import content_hash, inside
from client.data.readers.images import frame_files, image_files, read_grey
from client.data.readers.media import decode_frames
from client.data.readers.signals import read_signals, signal_files
from client.data.readers.text import read_text
from client.data.readers.vectors import read_vectors
from common.errors import DataError


def refused(call, *arguments):
    with pytest.raises(DataError) as refusal:
        call(*arguments)
    return str(refusal.value)


def sparse(path, size_bytes=10 << 30):
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path


class TestSound:
    @pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
    def test_formats_agree(self, tmp_path, make, suffix):
        signal = make.tone(1.0)
        path = tmp_path / f"clip.{suffix}"
        sf.write(path, signal, 16_000)
        read = read_audio(path)
        assert len(read) == pytest.approx(16_000, abs=2500)
        assert np.abs(read).mean() == pytest.approx(np.abs(signal).mean(), rel=0.1)

    @pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 48_000])
    def test_any_rate_becomes_16_khz_and_channels_are_averaged(self, tmp_path, make, rate_hz):
        time = np.arange(rate_hz) / rate_hz
        left = np.sin(2 * np.pi * 440 * time)
        sf.write(tmp_path / "x.wav", np.column_stack([left, 0 * left]), rate_hz)
        read = read_audio(tmp_path / "x.wav")
        assert len(read) == pytest.approx(16_000, abs=2)
        assert np.abs(np.fft.rfft(read)).argmax() == pytest.approx(440, abs=1)
        assert read[1000:-1000].std() == pytest.approx(0.5 * np.sqrt(0.5), rel=0.02)

    def test_a_window_is_cut_inside_the_file(self, tmp_path):
        sf.write(tmp_path / "x.wav", np.arange(16_000) / 20_000, 16_000, subtype="FLOAT")
        read = read_audio(tmp_path / "x.wav", 0.25, 0.5)
        assert len(read) == 4_000
        assert read[0] == pytest.approx(0.2)
        assert "no sound between 3 s and the end" in refused(read_audio, tmp_path / "x.wav", 3.0)

    def test_sound_of_a_film(self, tmp_path, make):
        film = make.film(tmp_path / "x.mp4")
        assert len(read_audio(film)) == pytest.approx(16_000, abs=2100)
        assert len(read_audio(film, 0.25, 0.5)) == 4_000
        assert "no sound" in refused(read_audio, make.film(tmp_path / "y.mp4", sound=False))

    @pytest.mark.parametrize("content", [b"not sound at all", b"\0" * 4096, b"RIFF", b"fLaC" * 20])
    @pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "mp4"])
    def test_what_is_no_sound_is_refused(self, tmp_path, content, suffix):
        path = tmp_path / f"x.{suffix}"
        path.write_bytes(content)
        assert f"x.{suffix}" in refused(read_audio, path)

    def test_a_truncated_flac_is_refused(self, tmp_path, make):
        path = tmp_path / "x.flac"
        sf.write(path, make.tone(2.0), 16_000)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "x.flac" in refused(read_audio, path)

    def test_a_truncated_wav_is_refused(self, tmp_path, make):
        path = make.wav(tmp_path / "x.wav", make.tone(2.0))
        path.write_bytes(path.read_bytes()[:20_000])
        assert "truncated" in refused(read_audio, path)

    def test_empty_huge_missing_and_odd_files_are_refused_unread(self, tmp_path):
        (tmp_path / "empty.wav").touch()
        assert "empty" in refused(audio_files, tmp_path / "empty.wav")
        assert "at most" in refused(audio_files, sparse(tmp_path / "huge.wav"))
        assert "no such file" in refused(audio_files, tmp_path / "none.wav")
        os.mkfifo(tmp_path / "pipe.wav")
        assert "regular file" in refused(audio_files, tmp_path / "pipe.wav")

    def test_a_header_that_promises_hours_costs_no_memory(self, tmp_path):
        claimed = (1 << 32) - 100
        head = (
            b"RIFF"
            + struct.pack("<I", claimed)
            + b"WAVEfmt "
            + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
        )
        path = tmp_path / "x.wav"
        path.write_bytes(head + b"data" + struct.pack("<I", claimed - 36) + bytes(1000))
        tracemalloc.start()
        assert "truncated" in refused(read_audio, path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1e6

    def test_a_header_of_a_stream_that_does_not_know_its_length_is_fine(self, tmp_path, make):
        path = make.wav(tmp_path / "x.wav", make.tone(1.0))
        content = bytearray(path.read_bytes())
        content[4:8] = content[40:44] = b"\xff" * 4
        path.write_bytes(bytes(content))
        assert len(read_audio(path)) == 16_000


class TestFilms:
    def test_frames_in_order_and_inside_the_window(self, tmp_path, make):
        film = make.film(tmp_path / "x.mp4", sound=False)
        frames = decode_frames(film, (0.0, None), 5, 8)
        assert frames.shape == (5, 8, 8)
        assert (np.diff(frames[:, 0, -1]) > 0).all()
        late = decode_frames(film, (0.5, None), 1, 8)
        assert late[0, 0, -1] > frames[2, 0, -1]
        assert "no picture" in refused(decode_frames, film, (9.0, None), 1, 8)

    def test_a_playlist_cannot_make_the_decoder_open_other_files(self, tmp_path, make):
        film = make.film(tmp_path / "secret.mp4")
        for text in (f"ffconcat version 1.0\nfile {film.name}\n", f"#EXTM3U\n#EXTINF:1,\n{film}\n"):
            path = tmp_path / "x.mp4"
            path.write_text(text)
            assert "not a readable video" in refused(decode_frames, path, (0.0, None), 2, 8)

    def test_truncated(self, tmp_path, make):
        film = make.film(tmp_path / "x.mp4")
        film.write_bytes(film.read_bytes()[:500])
        assert "x.mp4" in refused(decode_frames, film, (0.0, None), 2, 8)

    def test_a_folder_of_pictures(self, tmp_path, make):
        for name in ("b.png", "a.jpg"):
            make.picture(tmp_path / "film" / name)
        (tmp_path / "film" / "notes.txt").write_text("not a picture")
        assert [file.name for file in frame_files(tmp_path / "film")] == ["a.jpg", "b.png"]
        make.picture(tmp_path / "away.png")
        (tmp_path / "film" / "c.png").symlink_to(tmp_path / "away.png")
        assert "outside" in refused(frame_files, tmp_path / "film")
        (tmp_path / "none").mkdir()
        assert "found 0" in refused(frame_files, tmp_path / "none")


class TestPictures:
    def test_a_picture_is_cut_to_its_centre(self, tmp_path, make):
        grey = read_grey(make.picture(tmp_path / "x.png"), 16)
        assert grey.shape == (16, 16)
        assert 0 <= grey.min() < grey.max() <= 1

    def test_truncated_or_no_picture(self, tmp_path, make):
        path = make.picture(tmp_path / "x.png")
        path.write_bytes(path.read_bytes()[:600])
        assert "x.png" in refused(read_grey, path, 16)
        path.write_bytes(b"<svg/>")
        assert "x.png" in refused(read_grey, path, 16)
        assert "at most" in refused(image_files, sparse(tmp_path / "huge.png"))

    def test_a_decompression_bomb_is_refused(self, tmp_path):
        from PIL import Image

        Image.new("1", (20_000, 20_000)).save(tmp_path / "bomb.png")
        assert (tmp_path / "bomb.png").stat().st_size < 100_000
        assert "bomb.png" in refused(read_grey, tmp_path / "bomb.png", 16)


class TestArrays:
    def test_round_trip(self, tmp_path):
        arrays = {"a": np.arange(6.0).reshape(2, 3), "b": np.asfortranarray(np.ones((2, 2)))}
        np.savez(tmp_path / "x.npz", **arrays)
        read = read_npz(tmp_path / "x.npz")
        assert set(read) == {"a", "b"}
        assert all((read[name] == arrays[name]).all() for name in arrays)
        np.save(tmp_path / "x.npy", arrays["a"])
        assert (read_npy(tmp_path / "x.npy") == arrays["a"]).all()

    def test_pickles_are_never_read(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (os.mkdir, (str(tmp_path / "owned"),))

        np.save(tmp_path / "x.npy", np.array([Bomb()], dtype=object))
        np.savez(tmp_path / "x.npz", x=np.array([Bomb()], dtype=object))
        assert "only arrays of numbers" in refused(read_npy, tmp_path / "x.npy")
        assert "only arrays of numbers" in refused(read_npz, tmp_path / "x.npz")
        assert not (tmp_path / "owned").exists()

    def test_a_zip_bomb_is_refused_unread(self, tmp_path):
        with (
            zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("x.npy", "w", force_zip64=True) as file,
        ):
            for _ in range(120):
                file.write(bytes(1 << 20))
        tracemalloc.start()
        said = refused(read_npz, tmp_path / "bomb.npz", 100 << 20)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "when unpacked" in said
        assert peak < 5e6

    def test_a_header_that_claims_more_than_there_is_costs_no_memory(self, tmp_path):
        np.save(tmp_path / "x.npy", np.zeros(4))
        content = (tmp_path / "x.npy").read_bytes().replace(b"(4,), }", b"(4000000000000,), }")
        (tmp_path / "x.npy").write_bytes(content)
        said = refused(read_npy, tmp_path / "x.npy")
        assert said == "x.npy: claims 32,000,000 MB, more than the file holds"

    @settings(max_examples=60, deadline=None)
    @given(data=st.data())
    def test_damaged_archives(self, tmp_path_factory, data):
        path = tmp_path_factory.mktemp("fuzz") / "x.npz"
        np.savez_compressed(path, a=np.arange(50), b=np.ones((3, 3)))
        content = bytearray(path.read_bytes())
        for _ in range(3):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
        try:
            arrays = read_npz(path)
        except DataError:
            return
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


class TestVectors:
    def test_all_forms_agree(self, tmp_path):
        values = [1.0, 2.5, -3.0]
        np.save(tmp_path / "x.npy", values)
        np.savez(tmp_path / "x.npz", any_name=values)
        (tmp_path / "x.csv").write_text("a,b,c\n1,2.5,-3\n")
        (tmp_path / "y.csv").write_text("1,2.5,-3\n")
        pd.DataFrame([values]).rename(columns=str).to_parquet(tmp_path / "x.parquet")
        paths = [tmp_path / n for n in ("x.npy", "x.npz", "x.csv", "y.csv", "x.parquet")]
        for source in [*paths, "[1, 2.5, -3]", tuple(values)]:
            assert read_vectors(source).tolist() == [values]

    def test_missing_values_are_nan(self, tmp_path):
        (tmp_path / "x.csv").write_text("a,b\n1,\n3,4\n")
        assert np.isnan(read_vectors(tmp_path / "x.csv")[0, 1])
        assert np.isnan(read_vectors("[1, null]")[0, 1])

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("x.npy", b"\x93NUMPY"),
            ("x.npz", b"PK\x05\x06"),
            ("x.csv", b"1,2\n3\n"),
            ("x.csv", b"\xff\xfe"),
            ("x.parquet", b"PAR1"),
            ("x.pkl", b"\x80\x04."),
        ],
    )
    def test_damaged(self, tmp_path, name, content):
        (tmp_path / name).write_bytes(content)
        assert name in refused(read_vectors, tmp_path / name)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("[1, 'a']", """expected a JSON list of numbers, found "[1, 'a']\""""),
            ("[", "expected a JSON list of numbers, found '['"),
            ("[[[1]]]", "expected one or two axes with values, found shape (1, 1, 1)"),
            ("[]", "expected one or two axes with values, found shape (1, 0)"),
            ('[{"a": 1}]', "expected numbers only"),
            ("[1, [2]]", "expected numbers only"),
        ],
    )
    def test_lists_that_are_no_vector(self, text, said):
        assert refused(read_vectors, text) == said


class TestSignals:
    def test_rates_come_from_the_name_then_the_clock_then_the_device(self, tmp_path):
        (tmp_path / "named.csv").write_text("eda@8,temp@2\n1,30\n2,\n3,\n4,\n")
        (tmp_path / "clock.csv").write_text("time_s,eda\n0,1\n0.1,2\n0.2,3\n0.3,4\n")
        (tmp_path / "plain.csv").write_text("EDA,BVP\n1,5\n2,6\n")
        named = read_signals(tmp_path / "named.csv")
        assert (named["eda"].rate_hz, named["temp"].rate_hz) == (8.0, 2.0)
        assert (len(named["eda"].values), len(named["temp"].values)) == (4, 1)
        assert read_signals(tmp_path / "clock.csv")["eda"].rate_hz == pytest.approx(10.0)
        assert read_signals(tmp_path / "plain.csv")["bvp"].rate_hz == 64.0

    def test_axes_other_names_and_npz(self, tmp_path):
        (tmp_path / "x.csv").write_text("acc_x,acc_y,acc_z,gsr\n1,2,3,4\n5,6,7,8\n")
        signals = read_signals(tmp_path / "x.csv")
        assert signals["acc"].values.tolist() == [[1, 2, 3], [5, 6, 7]]
        assert signals["eda"].rate_hz == 4.0
        np.savez(tmp_path / "x.npz", **{"ACC": np.ones((64, 3)), "ecg@700": np.ones(700)})
        stored = read_signals(tmp_path / "x.npz")
        assert stored["acc"].window(1.0, 1.5).shape == (16, 3)
        assert stored["ecg"].rate_hz == 700.0

    def test_a_gap_in_the_clock_stays_unknown(self, tmp_path):
        time = np.r_[np.arange(0, 5, 0.25), np.arange(8, 12, 0.25)]
        pd.DataFrame({"time_s": time, "eda": time}).to_csv(tmp_path / "x.csv", index=False)
        values = read_signals(tmp_path / "x.csv")["eda"].values
        assert len(values) == 48
        assert np.isnan(values).sum() == pytest.approx(12, abs=2)
        assert values[36:] == pytest.approx(np.arange(9, 12, 0.25))

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("eda\nhigh\n", "numbers only"),
            ("time_s,eda\n0,1\n0,2\n", "only rise"),
            ("eda@fast\n1\n", "rate in Hz"),
            ("eda@-4\n1\n", "rate in Hz"),
            ("unknown\n1\n", "no signal of a known rate"),
            ("eda,gsr\n1,2\n", "stands twice"),
            ("time_s,eda\n0,1\n1,2\n2,2\n3,2\n1e9,3\n", "gaps longer"),
            ("eda,bvp\n1,2\n3,4,5,6\n", "not a readable table"),
        ],
    )
    def test_broken_tables(self, tmp_path, content, said):
        (tmp_path / "x.csv").write_text(content)
        assert said in refused(read_signals, tmp_path / "x.csv")

    def test_huge_or_unknown_files(self, tmp_path):
        assert "at most" in refused(signal_files, sparse(tmp_path / "x.csv"))
        (tmp_path / "x.mat").write_bytes(b"MATLAB")
        assert "expected signals in" in refused(read_signals, tmp_path / "x.mat")


def test_text_files(tmp_path):
    (tmp_path / "x.txt").write_text("\ufeffgrüß", encoding="utf-8")
    assert read_text(tmp_path / "x.txt") == "grüß"
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\xfa")
    assert "UTF-8" in refused(read_text, tmp_path / "x.txt")
    assert "at most" in refused(read_text, sparse(tmp_path / "y.txt"))


def test_paths_and_hashes(tmp_path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("2")
    both = content_hash([tmp_path / "a", tmp_path / "b"])
    assert both != content_hash([tmp_path / "b", tmp_path / "a"])
    assert inside(tmp_path, "a") == tmp_path.resolve() / "a"
    assert "outside" in refused(inside, tmp_path / "..", "../../etc")
