# prep_pillow.py FOLDER W H png|jpg: what a script with Pillow does to each picture; pictures a second of processor time.
import io, os, sys, time
from PIL import Image

folder, w, h, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
names = sorted(os.listdir(folder))
begin = time.process_time()
for name in names:
    picture = Image.open(os.path.join(folder, name)).convert("RGB").resize((w, h), Image.Resampling.LANCZOS)
    picture.save(io.BytesIO(), {"png": "PNG", "jpg": "JPEG"}[kind], **({"quality": 95} if kind == "jpg" else {}))
print("%.2f" % (len(names) / (time.process_time() - begin)))
