"""Write split.tsv: which pairs train, which test, which stay out. One split for all recipes.

    python3 tools/train/make_split.py DATA/PAIRS.tsv > tools/train/split.tsv

DATA is the data folder (PAIRS.tsv, MANIFEST.tsv). The split goes by scene or medical case, never by file: pairs
that share a scene share its split. The rules below are lists, not chance, so that the file can be checked by eye.
"""

import csv
import os
import sys

# Video frames whose numbers are this close show the same street (0.1 to 2 s apart).
FRAME_GAP = 40

# Scenes found alike by comparing 24x24 thumbnails of both sides (correlation above 0.93).
SAME_SCENE = {"FLIR_09465": "FLIR_video"}

# Data sets whose every pair is for testing: the pairs of the published pictures and of published metric values.
TEST_SETS = {("ivf", "tno"), ("ivf", "vifb")}

# LLVIP may only be used non-commercially.
EXCLUDED_SETS = {("ivf", "llvip")}

# Every tenth RoadScene scene, in the order of the frame numbers, is for testing.
ROADSCENE_EVERY = 10

TEST_SCENES = {
    "msrs/00020N", "msrs/00738N", "msrs/01190N", "msrs/00258D", "msrs/01474D",
    "m3fd/04053", "fmb/00711",
    "case 30", "case 33", "case 11",
    "mefb/ICCV_08", "mefb/LivingRoom", "mefb/Studio", "mefb/garage", "u2fusion_gray/3",
    "lytro_04", "lytro_12", "lytro_19", "mffw_09", "aymaz_12", "savic_06", "stand_04", "tsai_04",
}

# ReFusion's own test pictures repeat scenes of MEFB, MSRS and Lytro; should those appear in the data, they are held out.
REFUSION_SCENES = {"msrs/00710N", "msrs/00906N", "mefb/AirBellowsGap", "mefb/ICCV_03", "lytro_05", "lytro_14"}
REFUSION_NAMES = {
    "00710N": "msrs/00710N", "00906N": "msrs/00906N", "AirBellowsGap": "mefb/AirBellowsGap", "ICCV_03": "mefb/ICCV_03",
    "5": "lytro_05", "14": "lytro_14",
}

# Every tenth photograph of BSDS500 is for testing.
NATURAL_EVERY = 10


def road_scenes(names):
    """Scene of every RoadScene frame: runs of still frames with close numbers; the video is one scene."""
    stills = sorted(n for n in names if not n.startswith("FLIR_video"))
    scenes = {n: "FLIR_video" for n in names if n.startswith("FLIR_video")}
    start = last = None
    for name in stills:
        number = int(name.split("_")[1])
        if last is None or number - last > FRAME_GAP:
            start = name
        scenes[name] = start
        last = number
    merged = {scenes[name]: target for name, target in SAME_SCENE.items() if name in scenes}
    return {name: "roadscene/" + merged.get(scene, scene) for name, scene in scenes.items()}


def scene_of(row, roads):
    task, dataset, name = row["task"], row["dataset"], row["name"]
    if dataset == "refusion_cases":
        return REFUSION_NAMES.get(name, name)
    if dataset == "roadscene":
        return roads[name]
    if task == "medical":
        # CASE and a three-digit slice; a case number means the same patient in CT, PET and SPECT (21 and 28 share MRI).
        return "case " + name[:-3]
    if task == "mff":
        return name
    return dataset + "/" + name


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_split.py DATA/PAIRS.tsv > split.tsv")
    pairs_path = sys.argv[1]
    with open(pairs_path, newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    roads = road_scenes([r["name"] for r in rows if r["dataset"] == "roadscene"])
    road_order = sorted(set(roads.values()) - {"roadscene/FLIR_video"})
    road_test = set(road_order[ROADSCENE_EVERY // 2::ROADSCENE_EVERY])
    print("task\tdataset\tname\tscene\tsplit")
    for row in rows:
        task, dataset, scene = row["task"], row["dataset"], scene_of(row, roads)
        if (task, dataset) in EXCLUDED_SETS:
            split = "excluded"
        elif dataset == "refusion_cases" or (task, dataset) in TEST_SETS:
            split = "test"
        elif scene in TEST_SCENES or scene in REFUSION_SCENES or scene in road_test:
            split = "test"
        else:
            split = "train"
        print(task, dataset, row["name"], scene, split, sep="\t")
    manifest = os.path.join(os.path.dirname(pairs_path), "MANIFEST.tsv")
    with open(manifest, newline="") as file:
        paths = sorted(r["path"] for r in csv.DictReader(file, delimiter="\t") if r["path"].startswith("natural/"))
    for index, path in enumerate(paths):
        _, dataset, *rest = path.split("/")
        name = os.path.splitext("/".join(rest))[0]
        split = "test" if dataset == "bsds500" and index % NATURAL_EVERY == NATURAL_EVERY // 2 else "train"
        print("natural", dataset, name, name, split, sep="\t")


if __name__ == "__main__":
    main()
