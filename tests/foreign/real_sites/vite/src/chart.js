// A separate chunk, since only some pages need it.
import { icon, map, marker } from "leaflet";
import iconUrl from "leaflet/dist/images/marker-icon.png";
import shadowUrl from "leaflet/dist/images/marker-shadow.png";

// Draws the markers, and returns how many have their picture.
export async function draw(element, places) {
  const chart = map(element).setView([54, 5], 4);
  const pin = icon({ iconUrl, shadowUrl, iconSize: [25, 41], iconAnchor: [12, 41] });
  for (const { at, name } of places) marker(at, { icon: pin, alt: name }).addTo(chart);
  const pictures = [...element.querySelectorAll("img.leaflet-marker-icon")];
  await Promise.all(pictures.map((picture) => picture.decode()));
  return pictures.length;
}
